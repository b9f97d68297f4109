"""`maskviz importance`: every head silenced, one after the other, and what that does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from maskviz.api.together import refuse_slopes_beside
from maskviz.cli import options as o
from maskviz.cli.env import Env, working_together
from maskviz.cli.files import checked, deliver
from maskviz.cli.own_module import OwnOptions
from maskviz.cli.parsing.groups import GivenOptions, Group
from maskviz.core.words import (
    Ablation,
    MaskedReading,
    Measure,
    Method,
)

if TYPE_CHECKING:
    from maskviz.api.runs.examination import Masking

MethodName = Annotated[
    Method,
    typer.Option("--method", help="exact silences every head; gradient takes one backward pass a text."),
]
Normalise = Annotated[
    bool, typer.Option("--normalise", help="Divide each layer's scores by their L2 norm, as Michel et al. 2019 do.")
]
Top = Annotated[int, typer.Option("--top", min=1, help="Heads in the ranked table.")]


@dataclass(frozen=True, slots=True)
class SilencingOptions(Group):
    """What silencing a head means, and what it is measured by."""

    PANEL: ClassVar[str] = "Silencing heads"
    ablation: Annotated[
        Ablation,
        typer.Option(
            "--ablation",
            help="What a silenced head puts out: nothing, its mean over the texts, its output on another text; "
            "frozen: nothing, while later attention is held as it was.",
        ),
    ] = Ablation.ZERO
    measure: Annotated[
        Measure | None,
        typer.Option("--measure", help="What is ranked by; default: the loss, or what the model's outputs allow."),
    ] = None
    key_heads: Annotated[
        bool, typer.Option("--key-heads", help="Silence key heads, each with the query heads that read it.")
    ] = False
    mlm_reading: Annotated[
        MaskedReading,
        typer.Option("--mlm-reading", help="Loss of a masked LM: each token masked in turn, or as it stands, visible."),
    ] = MaskedReading.MASKED
    mlm_sample: Annotated[
        int | None,
        typer.Option("--mlm-sample", min=1, help="Mask at most so many tokens of a text, drawn with --seed."),
    ] = None

    def masking(self, seed: int) -> Masking:
        """How the loss of a masked language model is read."""
        from maskviz.api.runs.examination import Masking

        return Masking(self.mlm_reading, self.mlm_sample, seed)


def importance(
    env: Env,
    typed: GivenOptions,
    model: o.ModelOptions,
    module: OwnOptions,
    spread: o.ParallelOptions,
    hub: o.HubOptions,
    text: o.TextOptions,
    silencing: SilencingOptions,
    picture: o.PictureOptions,
    texts: o.Texts = None,
    file: o.File = None,
    method: MethodName = Method.EXACT,
    normalise: Normalise = False,
    top: Top = 20,
    seed: o.Seed = 0,
    output: o.DataOutput = None,
) -> None:
    """Rank heads by what happens when each is silenced alone; texts go through the model one by one."""
    paths, drawing = checked(output, (".json",), file), picture.drawing()
    text.check_ids()  # what is wrong is said before torch is imported
    refuse_slopes_beside(method, silencing.measure, silencing.ablation)
    own_module = module.own(env, typed, text)
    found = () if own_module is not None else text.read(env, texts, file)

    from maskviz.api.importance import ImportanceWanted, heads_ranked  # torch and transformers start here
    from maskviz.api.runs.traced import Asked

    silenced = silencing.ablation, silencing.measure, silencing.key_heads
    wanted = ImportanceWanted(method, *silenced, normalise, top, silencing.masking(seed))
    with working_together(spread.parallel) as share:
        loading = own_module or model.loading(hub, parallel=spread.parallel)
        answer = heads_ranked(env, Asked(loading, text.request(found)), wanted, share)
    deliver(env, answer, paths, drawing)
