"""`maskviz prune`: more and more heads removed at once, and what is left written down."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from maskviz.api.together import refuse_choices, refuse_export_beside
from maskviz.cli import options as o
from maskviz.cli.env import Env, working_together
from maskviz.cli.files import checked, deliver
from maskviz.cli.importance import SilencingOptions
from maskviz.cli.own_module import OwnOptions
from maskviz.cli.parsing.groups import GivenOptions, Group
from maskviz.core.errors import MaskvizError, UsageError
from maskviz.store.files import check_writable

_BY = ("importance", "gradient")


@dataclass(frozen=True, slots=True)
class RemovalOptions(Group):
    """In which order heads go."""

    PANEL: ClassVar[str] = "Removing heads"
    by: Annotated[
        str,
        typer.Option("--by", metavar="importance|gradient", help="What heads are ranked by: exactly, or by slopes."),
    ] = "importance"
    step: Annotated[float, typer.Option("--step", min=0.001, max=1, help="Share of heads that goes at each step.")] = (
        0.1
    )
    rerank: Annotated[bool, typer.Option("--rerank", help="Rank the heads that are left anew at each step.")] = False
    random: Annotated[int, typer.Option("--random", min=1, max=1000, help="Random orders to compare with.")] = 5
    seed: o.Seed = 0


@dataclass(frozen=True, slots=True)
class ChosenOptions(Group):
    """Which heads stay, and what is written of them."""

    PANEL: ClassVar[str] = "What is left"
    keep: Annotated[
        float | None,
        typer.Option("--keep", min=0, max=1, help="Choose the mask that keeps this share of the heads."),
    ] = None
    within: Annotated[
        float | None,
        typer.Option("--within", min=0, help="Choose the mask that removes most while the measure grows by no more."),
    ] = None
    save: Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Write the chosen mask, .json.")] = None
    export: Annotated[
        Path | None, typer.Option("--export", metavar="FOLDER", help="Write the model without the heads that go.")
    ] = None

    def check(self, paths: list[Path], silencing: SilencingOptions, spread: o.ParallelOptions) -> None:
        """Refuse what does not go together, before torch is imported.

        Raises:
            UsageError: two ways to choose, or something to write of a choice that was not made.
            NotFoundError: the mask cannot be written where it is to be.
        """
        refuse_choices(self.keep, self.within)
        written = [path for path in (*paths, self.save, self.export) if path is not None]
        if len({path.absolute() for path in written}) < len(written):
            raise UsageError("an output file is named twice", "give --save, --export and each -o a name of its own")
        for name, path in (("save", self.save), ("export", self.export)):
            if path is not None and self.keep is None and self.within is None:
                raise UsageError(
                    f"--{name} writes a chosen mask, and none is asked for", "add --keep 0.6 or --within 0.05"
                )
        if self.export is not None:
            refuse_export_beside(silencing.ablation)
            if spread.parallel is not None:
                raise UsageError("--export takes a model that is in one place", "leave out --parallel")
        if self.save is not None:
            if self.save.suffix.lower() != ".json":
                raise UsageError(f"--save {str(self.save)!r} is no .json", "name it such as mask.json")
            check_writable(self.save)


def prune(
    env: Env,
    typed: GivenOptions,
    model: o.ModelOptions,
    module: OwnOptions,
    spread: o.ParallelOptions,
    hub: o.HubOptions,
    text: o.TextOptions,
    removal: RemovalOptions,
    silencing: SilencingOptions,
    chosen: ChosenOptions,
    picture: o.PictureOptions,
    texts: o.Texts = None,
    file: o.File = None,
    output: o.DataOutput = None,
) -> None:
    """Draw what is lost against the share of heads removed, beside random orders; save or export what is left."""
    paths, drawing = checked(output, (".json",), file), picture.drawing()
    text.check_ids()  # what is wrong is said before torch is imported
    if removal.by not in _BY:
        raise UsageError(f"--by {removal.by!r} is not known", f"choose one of {', '.join(_BY)}")
    chosen.check(paths, silencing, spread)
    own_module = module.own(env, typed, text)
    found = () if own_module is not None else text.read(env, texts, file)

    from maskviz.ablate.export import check_folder
    from maskviz.api.prune import PruneWanted, heads_pruned, ranked_by  # torch and transformers start here
    from maskviz.api.runs.traced import Asked

    if chosen.export is not None:
        check_folder(chosen.export)
    wanted = PruneWanted(
        by=ranked_by(removal.by),
        ablation=silencing.ablation,
        measure=silencing.measure,
        step=removal.step,
        random=removal.random,
        rerank=removal.rerank,
        key_heads=silencing.key_heads,
        keep=chosen.keep,
        within=chosen.within,
        masking=silencing.masking(removal.seed),
        exporting=chosen.export is not None,
    )
    unwritten: MaskvizError | None = None
    with working_together(spread.parallel) as share:
        loading = own_module or model.loading(hub, parallel=spread.parallel)
        curve = heads_pruned(env, Asked(loading, text.request(found)), wanted, share)
        if chosen.save is not None and env.leads:
            env.wrote(curve.save_mask(chosen.save))
        if chosen.export is not None and env.leads:
            try:
                curve = curve.export(chosen.export)
                env.wrote(chosen.export)
            except MaskvizError as error:  # the curve is measured: it is shown before this is said
                unwritten = error
    deliver(env, curve, paths, drawing)
    if unwritten is not None:
        raise unwritten
