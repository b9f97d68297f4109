"""How many heads can go: more and more removed at once, the mask that is chosen, and what is left. Imports torch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

import numpy as np

from maskviz.ablate.effects import Question
from maskviz.ablate.export import check_folder, export
from maskviz.ablate.keeping import kept_heads, layout_of
from maskviz.ablate.pruning import Ask, Removal, RemovalPlan, Score, kept_share, kept_within, removed_in_steps, steps_of
from maskviz.api.answer import Answer, read_back
from maskviz.api.importance import masking_of
from maskviz.api.runs.asking import asked_of
from maskviz.api.runs.examination import Examination, Masking, examination_of
from maskviz.api.runs.options import ModelKeywords, OwnKeywords, TextKeywords, check_options, only, word
from maskviz.api.runs.traced import Asked
from maskviz.api.together import refuse_choices, refuse_export_beside
from maskviz.api.watcher import NOBODY, Watcher
from maskviz.core.arrays import DoubleArray
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.machine import Share
from maskviz.core.panels.page import Page, Panel
from maskviz.core.results.importance import Effects, Site
from maskviz.core.results.pruning import Chosen, Pruning
from maskviz.core.run.heads import HeadMask
from maskviz.core.words import Ablation, Measure, Method
from maskviz.core.writing import either, parameter
from maskviz.load.models.model import Loaded, volume_kept
from maskviz.store.files import check_writable, write_whole
from maskviz.store.importance import head_mask_json, pruning_json
from maskviz.tracing.seam.replacing import alone
from maskviz.view.heads.export import export_panels
from maskviz.view.heads.pruning import pruning_page

if TYPE_CHECKING:
    from maskviz.api.runs.options import Model, RunKeywords, Text

# What the exact ranking is called where heads are removed.
BY = {"importance": Method.EXACT, "gradient": Method.GRADIENT}


@dataclass(frozen=True, slots=True)
class PruneWanted:
    """What is asked of a pruning.

    Attributes:
        by: What heads are ranked by.
        ablation: What takes the place of their outputs.
        measure: What is ranked by and drawn, None for the model's first.
        step: Share of heads that goes at each step.
        random: Random orders to compare with.
        rerank: Whether heads that are left are ranked anew.
        key_heads: Whether key heads go with their groups.
        keep: Choose the mask that keeps this share of the heads, or None.
        within: Choose the mask that removes most while the measure grows by no more, or None.
        masking: How the loss of a masked language model is read; its seed is that of everything random.
        exporting: Whether the model is to be written without the heads that go.
    """

    by: Method = Method.EXACT
    ablation: Ablation = Ablation.ZERO
    measure: Measure | None = None
    step: float = 0.1
    random: int = 5
    rerank: bool = False
    key_heads: bool = False
    keep: float | None = None
    within: float | None = None
    masking: Masking = field(default_factory=Masking)
    exporting: bool = False


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PruningCurve(Answer):
    """What is lost against the share of heads removed, and the mask that was chosen.

    Attributes:
        pruning: The curve, and the choice.
        examination: The model and its texts.
        wanted: What was asked.
        maps: Attention before and after the chosen heads are removed.
        written: What a folder saves that was written, as panels.
    """

    DATA: ClassVar[tuple[str, ...]] = (".json",)
    pruning: Pruning
    examination: Examination
    wanted: PruneWanted
    maps: tuple[Panel, ...] = ()
    written: tuple[Panel, ...] = ()

    def __repr__(self) -> str:
        name, sites = self.examination.subject.trace.card.name, len(self.pruning.sites)
        chosen = "" if self.pruning.chosen is None else f", {len(self.pruning.chosen.removed)} of them to go"
        return f"<PruningCurve of {name}: {sites} heads{chosen}>"

    @property
    def mask(self) -> HeadMask | None:
        """The mask that was chosen; None where none was asked for."""
        return None if self.pruning.chosen is None else self.pruning.chosen.mask

    def page(self) -> Page:
        """The page that `maskviz prune` prints."""
        card = self.examination.subject.trace.card
        return pruning_page(card, self.pruning, self.examination.names, (*self.maps, *self.written))

    def to_dict(self) -> dict[str, Any]:
        """The curve as `.json` holds it."""
        return read_back(self.data(".json"))

    def data(self, suffix: str, command: str = "") -> bytes:
        """The curve as `.json`."""
        del suffix
        card = self.examination.subject.trace.card
        return pruning_json(self.pruning, card, self.examination.names, command)

    def save_mask(self, path: str | os.PathLike[str]) -> Path:
        """Write the chosen mask as .json, as `head_mask="@mask.json"` reads it.

        Raises:
            UsageError: none was chosen.
            NotFoundError: it cannot be written there.
        """
        place = Path(path)
        check_writable(place)
        write_whole(place, head_mask_json(self._chosen().mask))
        return place

    def export(self, folder: str | os.PathLike[str]) -> PruningCurve:
        """Write the model without the heads that go, load it back and time it.

        Returns:
            The curve, with what the folder saves on its page.

        Raises:
            UsageError: no mask was chosen, or heads were not set to zero.
            CannotTraceError: nothing of the model would be smaller, or it cannot be written; then there is no folder.
        """
        chosen, place = self._chosen(), Path(folder)
        refuse_export_beside(self.wanted.ablation)
        check_folder(place)
        examination = self.examination
        loaded = _loaded(examination)
        layout_of(loaded.model)
        kept = kept_heads(loaded.model, examination.subject.trace, chosen.mask)
        if all(len(one.query) == one.heads for one in kept):
            other = "" if self.wanted.key_heads else f", or try {parameter('key_heads', True)}"
            raise CannotTraceError(
                f"{str(place)!r} was not written: with these heads gone no projection would be smaller, since each "
                "layer of this architecture keeps as many heads as the layer that keeps most",
                f"keep fewer with {parameter('keep')}{other}; "
                f"{either('save_mask', '--save')}{either('(...)', ' mask.json')} keeps the mask",
            )
        examination.watcher.progress("writing the model without these heads, loading it back, timing it ...")
        text = min(examination.subject.texts, key=lambda one: one.batch.length)
        done = export(loaded, text.inputs, examination.subject.trace, chosen.mask, place)
        return replace(self, written=tuple(export_panels(done)))

    def _chosen(self) -> Chosen:
        if self.pruning.chosen is None:
            raise UsageError("no mask was chosen", f"say {parameter('keep', 0.6)} or {parameter('within', 0.05)}")
        return self.pruning.chosen


class PruneKeywords(ModelKeywords, TextKeywords, OwnKeywords, total=False):
    """What else `prune` may be told, beside what is said of a model and its texts.

    Attributes:
        by: "importance" ranks exactly, "gradient" by slopes.
        step: Share of heads that goes at each step.
        rerank: Rank the heads that are left anew at each step.
        random: Random orders to compare with.
        ablation, measure, key_heads, seed, mlm_reading, mlm_sample: As of `importance`.
        keep: Choose the mask that keeps this share of the heads.
        within: Choose the mask that removes most while the measure grows by no more.
    """

    by: str
    step: float
    rerank: bool
    random: int
    ablation: str
    measure: str | None
    key_heads: bool
    seed: int
    mlm_reading: str
    mlm_sample: int | None
    keep: float | None
    within: float | None


def prune(model: Model, texts: Text = None, **options: Unpack[PruneKeywords]) -> PruningCurve:
    """Measure what is lost against the share of heads removed, beside random orders; and choose a mask.

    Args:
        model: A name or a model, as `trace` takes it.
        texts: A text, or several.
        **options: See `PruneKeywords`, `ModelKeywords` and `TextKeywords`.

    Returns:
        The curve; `.mask` is what was chosen, `.export(folder)` writes the model without the heads that go.

    Raises:
        MaskvizError: what is asked for is not there, does not go together, or has no heads.
        TypeError: an option there is not.
    """
    check_options("prune", options, PruneKeywords)
    measure = options.get("measure")
    wanted = PruneWanted(
        ranked_by(options.get("by", "importance")),
        word(Ablation, options.get("ablation", "zero"), "ablation"),
        None if measure is None else word(Measure, measure, "measure"),
        options.get("step", 0.1),
        options.get("random", 5),
        options.get("rerank", False),
        options.get("key_heads", False),
        options.get("keep"),
        options.get("within"),
        masking_of(options),
    )
    run: RunKeywords = only(options, ModelKeywords, TextKeywords, OwnKeywords)
    with alone(), volume_kept():
        return heads_pruned(NOBODY, asked_of(model, texts, run), wanted)


def ranked_by(name: str) -> Method:
    """What heads are ranked by, as it is called here.

    Raises:
        UsageError: there is no such way.
    """
    if name not in BY:
        raise UsageError(f"{parameter('by')} {name!r} is not known", f"choose one of {', '.join(BY)}")
    return BY[name]


def heads_pruned(watcher: Watcher, asked: Asked, wanted: PruneWanted, share: Share | None = None) -> PruningCurve:
    """Remove heads of a model in steps, and choose a mask where one is asked for.

    Args:
        watcher: Who is told.
        asked: The model and its texts.
        wanted: What is asked.
        share: Which of the texts this process takes, of those torchrun started.

    Raises:
        UsageError: the measure is not known of every text.
        CannotTraceError: an export is wanted, and this architecture cannot be written without heads.
    """
    refuse_choices(wanted.keep, wanted.within)
    if wanted.exporting:
        refuse_export_beside(wanted.ablation)
    examination = examination_of(watcher, asked, share or Share(), wanted.masking)
    pruning = _pruned(examination, wanted)
    maps: list[Panel] = []
    if pruning.chosen is not None:
        maps = examination.moved_maps(pruning.chosen.mask, "With the chosen heads removed")
    return PruningCurve(pruning, examination, wanted, tuple(maps))


def _loaded(examination: Examination) -> Loaded:
    """The model that is written without heads.

    Raises:
        UsageError: it is a module of the user's own.
    """
    if examination.loaded is None:
        raise UsageError(
            f"{parameter('export')} writes models of transformers, and this is a module of your own",
            f"{either('save_mask', '--save')} keeps the mask",
        )
    return examination.loaded


def _pruned(examination: Examination, wanted: PruneWanted) -> Pruning:
    subject = examination.subject
    if wanted.exporting:
        layout_of(_loaded(examination).model)
    sites = subject.sites(key_heads=wanted.key_heads)
    measure, seed = examination.measure(wanted.measure), wanted.masking.seed
    seeds = tuple(range(seed, seed + wanted.random))
    steps = steps_of(len(sites), wanted.step)
    plan = RemovalPlan(sites, steps, wanted.ablation, wanted.rerank, seeds, seed)
    asked: list[Effects] = []

    def ask(question: Question) -> Effects:
        asked.append(examination.ask(question, "removing heads together"))
        return asked[-1]

    score = _score(examination, wanted, measure)
    removal = removed_in_steps(subject, plan, ask, score)
    chosen = _choice(examination, plan, removal, (wanted, measure), ask)
    return Pruning(
        sites,
        steps,
        removal.lines,
        asked[0].plain,
        measure,
        wanted.ablation,
        wanted.by,
        wanted.rerank,
        chosen,
        examination.tokens,
        examination.notes,
    )


def _score(examination: Examination, wanted: PruneWanted, measure: Measure) -> Score:
    """Ranks sites by the mean over texts of what silencing each does, or of its slope."""

    def by_slope(sites: Sequence[Site], base: HeadMask | None) -> DoubleArray:
        slopes: DoubleArray = examination.slopes(sites, base).mean(axis=0)
        return slopes

    def exactly(sites: Sequence[Site], base: HeadMask | None) -> DoubleArray:
        masks = [examination.subject.silenced(site, base=base) for site in sites]
        question = Question(masks, wanted.ablation, base, wanted.masking.seed)
        changes = examination.ask(question, f"silencing {len(sites)} heads, one by one").changes
        means: DoubleArray = np.mean(changes[measure], axis=0)
        return means

    return by_slope if wanted.by is Method.GRADIENT else exactly


def _choice(
    examination: Examination, plan: RemovalPlan, removal: Removal, asked: tuple[PruneWanted, Measure], ask: Ask
) -> Chosen | None:
    wanted, measure = asked
    if wanted.keep is not None:
        return kept_share(examination.subject, plan, removal.ranked, wanted.keep, ask)
    if wanted.within is not None:
        return kept_within(examination.subject, plan, removal, measure, wanted.within, ask)
    return None
