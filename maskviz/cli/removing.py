"""Heads removed step by step, the mask that is chosen, and the model written without them. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskviz.ablate.effects import Question
from maskviz.ablate.export import export
from maskviz.ablate.keeping import kept_heads, layout_of
from maskviz.ablate.pruning import Ask, Plan, Removal, Score, kept_share, kept_within, removed_in_steps, steps_of
from maskviz.cli.examining import Examination
from maskviz.core.arrays import DoubleArray
from maskviz.core.errors import CannotTraceError
from maskviz.core.panels.page import Panel
from maskviz.core.results.importance import Effects, Site
from maskviz.core.results.pruning import Chosen, Pruning
from maskviz.core.run.heads import HeadMask
from maskviz.core.words import Ablation, Measure, Method
from maskviz.view.heads.export import export_panels


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a pruning, as the command line has it.

    Attributes:
        by: What heads are ranked by.
        ablation: What takes the place of their outputs.
        measure: What is ranked by and drawn, None for the model's first.
        step: Share of heads that goes at each step.
        orders: Random orders.
        reranked: Whether heads that are left are ranked anew.
        key_heads: Whether key heads go with their groups.
        seed: Of everything random.
        keep, within: The mask that is chosen, or None.
    """

    by: Method
    ablation: Ablation
    measure: Measure | None
    step: float
    orders: int
    reranked: bool
    key_heads: bool
    seed: int
    keep: float | None
    within: float | None


def pruned(examination: Examination, wanted: Wanted, *, exporting: bool) -> Pruning:
    """Remove heads in steps, and choose a mask where one is asked for.

    Raises:
        UsageError: the measure is not known of every text.
        CannotTraceError: an export is wanted, and this architecture cannot be written without heads.
    """
    subject = examination.subject
    if exporting:
        layout_of(examination.loaded.model)
    sites = subject.sites(key_heads=wanted.key_heads)
    measure = examination.measure(wanted.measure)
    seeds = tuple(range(wanted.seed, wanted.seed + wanted.orders))
    steps = steps_of(len(sites), wanted.step)
    plan = Plan(sites, steps, wanted.ablation, wanted.reranked, seeds, wanted.seed)
    asked: list[Effects] = []

    def ask(question: Question) -> Effects:
        asked.append(examination.ask(question, "removing heads together"))
        return asked[-1]

    score = _score(examination, wanted, measure)
    removal = removed_in_steps(subject, plan, ask, score)
    chosen = _chosen(examination, plan, removal, wanted, measure, ask)
    return Pruning(
        sites,
        steps,
        removal.lines,
        asked[0].plain,
        measure,
        wanted.ablation,
        wanted.by,
        wanted.reranked,
        chosen,
        examination.tokens,
        examination.notes,
    )


def exported(examination: Examination, chosen: Chosen, folder: Path, *, key_heads: bool) -> list[Panel]:
    """Write the model without the heads that go, and say what that saves.

    Raises:
        CannotTraceError: nothing of the model would be smaller, or it cannot be written; then there is no folder.
    """
    kept = kept_heads(examination.loaded.model, examination.subject.trace, chosen.mask)
    if all(len(one.query) == one.heads for one in kept):
        other = "" if key_heads else ", or try --key-heads"
        raise CannotTraceError(
            f"{str(folder)!r} was not written: with these heads gone no projection would be smaller, since each layer "
            "of this architecture keeps as many heads as the layer that keeps most",
            f"keep fewer with --keep{other}; --save mask.json keeps the mask",
        )
    examination.env.progress("writing the model without these heads, loading it back, timing it ...")
    text = min(examination.subject.texts, key=lambda one: one.batch.length)
    written = export(examination.loaded, text.inputs, examination.subject.trace, chosen.mask, folder)
    examination.env.say(f"wrote {folder}")
    return export_panels(written)


def _score(examination: Examination, wanted: Wanted, measure: Measure) -> Score:
    """Ranks sites by the mean over texts of what silencing each does, or of its slope."""

    def by_slope(sites: Sequence[Site], base: HeadMask | None) -> DoubleArray:
        slopes: DoubleArray = examination.slopes(sites, base).mean(axis=0)
        return slopes

    def exactly(sites: Sequence[Site], base: HeadMask | None) -> DoubleArray:
        masks = [examination.subject.silenced(site, base=base) for site in sites]
        question = Question(masks, wanted.ablation, base, wanted.seed)
        changes = examination.ask(question, f"silencing {len(sites)} heads, one by one").changes
        means: DoubleArray = np.mean(changes[measure], axis=0)
        return means

    return by_slope if wanted.by is Method.GRADIENT else exactly


def _chosen(
    examination: Examination, plan: Plan, removal: Removal, wanted: Wanted, measure: Measure, ask: Ask
) -> Chosen | None:
    if wanted.keep is not None:
        return kept_share(examination.subject, plan, removal.ranked, wanted.keep, ask)
    if wanted.within is not None:
        return kept_within(examination.subject, plan, removal, measure, wanted.within, ask)
    return None
