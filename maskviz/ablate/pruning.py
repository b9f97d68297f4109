"""More and more heads removed at once, in order of importance and in the orders that show what the order is worth."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from maskviz.ablate.effects import Question
from maskviz.ablate.model_and_texts import ModelAndTexts
from maskviz.core.arrays import DoubleArray
from maskviz.core.results.importance import Effects, Site
from maskviz.core.results.pruning import Chosen, Order, PruningLine
from maskviz.core.run.heads import HeadMask
from maskviz.core.words import Ablation, Measure

# Asks what masks do to all texts.
Ask = Callable[[Question], Effects]
# Scores float64 [site] of some sites, the larger the more important, while a head mask is in force.
Score = Callable[[Sequence[Site], HeadMask | None], DoubleArray]


@dataclass(frozen=True, slots=True, eq=False)
class RemovalPlan:
    """How heads are to be removed.

    Attributes:
        sites: What can be removed.
        steps: How many are removed at each step, from 0 to all.
        ablation: What takes the place of their outputs.
        reranked: Whether those that are left are ranked anew at each step.
        seeds: Of the random orders.
        seed: Of the texts that stand in for each other.
    """

    sites: tuple[Site, ...]
    steps: tuple[int, ...]
    ablation: Ablation = Ablation.ZERO
    reranked: bool = False
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    seed: int = 0


def steps_of(count: int, share: float) -> tuple[int, ...]:
    """How many of `count` sites are gone after each step of some share, at least one more each time; all at last."""
    counts = {round(count * share * step) for step in range(int(1 / share) + 2)}
    return tuple(sorted({0, count, *(min(count, one) for one in counts)}))


@dataclass(frozen=True, slots=True, eq=False)
class Removal:
    """The lines of a pruning curve, and the order in which the ranked line removed its sites."""

    lines: tuple[PruningLine, ...]
    ranked: tuple[Site, ...]


def removed_in_steps(subject: ModelAndTexts, plan: RemovalPlan, ask: Ask, score: Score) -> Removal:
    """Remove sites in steps: least important first, at random, and most important first.

    Args:
        subject: The model and its texts.
        plan: What is removed, and how.
        ask: Measures what masks do, all heads of a mask at once.
        score: Ranks sites.
    """
    ranked = _ranked(subject, plan, score, reverse=False)
    reverse = _ranked(subject, plan, score, reverse=True) if plan.reranked else ranked[::-1]
    orders: list[tuple[Order, int | None, Sequence[Site]]] = [(Order.RANKED, None, ranked)]
    for seed in plan.seeds:
        shuffled = np.random.default_rng(seed).permutation(len(plan.sites))
        orders.append((Order.RANDOM, seed, [plan.sites[index] for index in shuffled]))
    orders.append((Order.REVERSED, None, reverse))
    masks = [tuple(subject.silenced(*order[:count]) for count in plan.steps) for _, _, order in orders]
    effects = ask(Question([mask for line in masks for mask in line], plan.ablation, seed=plan.seed))
    lines = []
    for number, (order, line_seed, _) in enumerate(orders):
        part = slice(number * len(plan.steps), (number + 1) * len(plan.steps))
        changes = {measure: array[:, part] for measure, array in effects.changes.items()}
        lines.append(PruningLine(order, line_seed, masks[number], changes))
    return Removal(tuple(lines), tuple(ranked))


def _ranked(subject: ModelAndTexts, plan: RemovalPlan, score: Score, *, reverse: bool) -> Sequence[Site]:
    """Sites in the order they go; ranked anew at each step where the plan says so."""
    sign = -1 if reverse else 1
    if not plan.reranked:
        scores = sign * score(plan.sites, None)
        return [plan.sites[index] for index in np.argsort(scores, kind="stable")]
    gone: list[Site] = []
    left = list(plan.sites)
    for before, after in zip(plan.steps, plan.steps[1:], strict=False):
        scores = sign * score(left, subject.silenced(*gone) if gone else None)
        going = [left[index] for index in np.argsort(scores, kind="stable")[: after - before]]
        gone += going
        left = [site for site in left if site not in going]
    return gone


def kept_share(subject: ModelAndTexts, plan: RemovalPlan, ranked: Sequence[Site], share: float, ask: Ask) -> Chosen:
    """The mask that keeps a share of the sites, the last in the order of removal; at least one stays."""
    count = min(len(ranked) - 1, len(ranked) - round(share * len(ranked)))
    return _chosen(subject, plan, ranked, count, ask, f"keeps {share:g} of the heads")


def kept_within(
    subject: ModelAndTexts, plan: RemovalPlan, removal: Removal, measure: Measure, limit: float, ask: Ask
) -> Chosen:
    """The mask that removes most while a measure's mean over texts stays within a limit.

    The steps of the ranked line are gone through from the last, and what lies between the first that is within the
    limit and the one after it is tried head by head; nothing says that more heads always cost more. At least one stays.
    """
    most = len(removal.ranked) - 1
    steps = [step for step in plan.steps if step <= most]
    within = removal.lines[0].changes[measure][:, : len(steps)].mean(axis=0) <= limit
    best = int(np.flatnonzero(within)[-1])  # removing nothing changes nothing, so the first step is within any limit
    end = steps[best + 1] if best + 1 < len(steps) else most + 1
    tried = [*range(steps[best], end)]
    masks = [subject.silenced(*removal.ranked[:count]) for count in tried]
    costs = ask(Question(masks, plan.ablation, seed=plan.seed)).changes[measure].mean(axis=0)
    allowed = np.flatnonzero(costs <= limit)
    count = tried[int(allowed[-1])] if len(allowed) else 0
    return _chosen(subject, plan, removal.ranked, count, ask, f"keeps {measure.value} within {limit:g}")


def _chosen(
    subject: ModelAndTexts, plan: RemovalPlan, ranked: Sequence[Site], count: int, ask: Ask, why: str
) -> Chosen:
    mask = subject.silenced(*ranked[:count])
    changes = ask(Question([mask], plan.ablation, seed=plan.seed)).changes
    kept = 1 - count / len(ranked)
    return Chosen(mask, tuple(ranked[:count]), kept, {one: array[:, 0] for one, array in changes.items()}, why)
