"""Heads are removed together, in the order that was asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from torch import Tensor

from maskviz.ablate.effects import Question, effects_of
from maskviz.ablate.model_and_texts import ModelAndTexts
from maskviz.ablate.pruning import Removal, RemovalPlan, kept_share, kept_within, removed_in_steps, steps_of
from maskviz.core.arrays import DoubleArray
from maskviz.core.results.importance import Effects, Site
from maskviz.core.results.pruning import Order
from maskviz.core.run.heads import HeadMask
from maskviz.core.words import Measure
from tests.ablate.conftest import LAYERS, Change, hooked, logits_of, naive_measures, tiny_subject


@pytest.mark.parametrize(
    ("count", "share", "expected"),
    [
        (10, 0.1, (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10)),
        (12, 0.25, (0, 3, 6, 9, 12)),
        (3, 0.1, (0, 1, 2, 3)),
        (7, 1.0, (0, 7)),
        (5, 0.001, (0, 1, 2, 3, 4, 5)),
        (9, 0.3, (0, 3, 5, 8, 9)),
    ],
)
def test_steps_start_at_none_end_at_all_and_never_stand_still(
    count: int, share: float, expected: tuple[int, ...]
) -> None:
    assert steps_of(count, share) == expected


class Asked:
    """A subject that is asked, and counts how often."""

    def __init__(self) -> None:
        self.subject = tiny_subject("llama", (7, 9))
        self.bases: list[HeadMask | None] = []

    def ask(self, question: Question) -> Effects:
        return effects_of(self.subject, question)

    def score(self, sites: Sequence[Site], base: HeadMask | None) -> DoubleArray:
        self.bases.append(base)
        masks = [self.subject.silenced(site, base=base) for site in sites]
        scores: DoubleArray = self.ask(Question(masks, base=base)).changes[Measure.LOSS].mean(axis=0)
        return scores

    def removed(self, *, reranked: bool = False) -> tuple[RemovalPlan, Removal]:
        sites = self.subject.sites()
        plan = RemovalPlan(sites, steps_of(len(sites), 0.25), reranked=reranked, seeds=(3, 4))
        return plan, removed_in_steps(self.subject, plan, self.ask, self.score)


def jointly(subject: ModelAndTexts, number: int, gone: Sequence[Site]) -> float:
    """The loss added when heads are removed together, by plain hooks."""

    def without(layer: int) -> Change:
        def change(heads: Tensor) -> Tensor:
            heads = heads.clone()
            for site in gone:
                if site.layer == layer:
                    heads[:, :, list(site.heads)] = 0
            return heads

        return change

    text = subject.texts[number]
    plain = logits_of(subject, text)
    with hooked(subject, {layer: without(layer) for layer in range(LAYERS)}):
        after = logits_of(subject, text)
    return naive_measures(plain, after, text.batch.ids[0], causal=True)[Measure.LOSS]


def test_each_step_is_the_joint_effect_of_all_heads_that_are_gone() -> None:
    asked = Asked()
    plan, removal = asked.removed()
    line = removal.lines[0]
    for step, count in enumerate(plan.steps):
        for number in range(2):
            expected = jointly(asked.subject, number, removal.ranked[:count])
            assert line.changes[Measure.LOSS][number, step] == pytest.approx(expected, abs=1e-5)
    singles = asked.score(removal.ranked[:6], None)
    assert abs(singles.sum() - line.changes[Measure.LOSS][:, 2].mean()) > 1e-3, "single effects would add up"


def test_the_ranked_line_removes_the_least_important_first() -> None:
    asked = Asked()
    plan, removal = asked.removed()
    scores = asked.score(plan.sites, None)
    by_score = [plan.sites[index] for index in np.argsort(scores, kind="stable")]
    assert list(removal.ranked) == by_score
    assert [line.order for line in removal.lines] == [Order.RANKED, Order.RANDOM, Order.RANDOM, Order.REVERSED]
    third = plan.steps[1]
    gone = {head for _, head, _ in removal.lines[-1].masks[1].changed()}
    assert {(head.layer, head.head) for head in gone} == {(site.layer, site.heads[0]) for site in by_score[-third:]}


def test_random_orders_are_of_their_seed() -> None:
    asked = Asked()
    _, one = asked.removed()
    _, again = asked.removed()
    assert [str(mask) for mask in one.lines[1].masks] == [str(mask) for mask in again.lines[1].masks]
    assert str(one.lines[1].masks[2]) != str(one.lines[2].masks[2])


def test_ranking_anew_asks_with_the_heads_gone_that_are_gone() -> None:
    asked = Asked()
    plan, removal = asked.removed(reranked=True)
    ranking = asked.bases[: len(plan.steps) - 1]
    assert ranking[0] is None
    for base, count in zip(ranking[1:], plan.steps[1:-1], strict=True):
        assert base is not None
        assert str(base) == str(asked.subject.silenced(*removal.ranked[:count]))
    assert sorted(removal.ranked) == sorted(plan.sites)


def test_the_mask_that_keeps_a_share_keeps_that_many() -> None:
    asked = Asked()
    plan, removal = asked.removed()
    chosen = kept_share(asked.subject, plan, removal.ranked, 0.6, asked.ask)
    assert len(chosen.removed) == len(chosen.mask.changed()) == 5
    assert chosen.removed == removal.ranked[:5]
    assert chosen.kept == pytest.approx(7 / 12)
    expected = [jointly(asked.subject, number, removal.ranked[:5]) for number in range(2)]
    np.testing.assert_allclose(chosen.changes[Measure.LOSS], expected, atol=1e-5)


def test_one_head_stays_however_few_are_to_be_kept() -> None:
    asked = Asked()
    plan, removal = asked.removed()
    assert len(kept_share(asked.subject, plan, removal.ranked, 0.0, asked.ask).removed) == 11


@pytest.mark.parametrize("limit", [0.0, 0.02, 0.1, 10.0])
def test_the_mask_within_a_limit_stays_within_and_one_more_head_does_not(limit: float) -> None:
    asked = Asked()
    plan, removal = asked.removed()
    chosen = kept_within(asked.subject, plan, removal, Measure.LOSS, limit, asked.ask)
    count = len(chosen.removed)
    costs = [
        np.mean([jointly(asked.subject, number, removal.ranked[:gone]) for number in range(2)]) for gone in range(13)
    ]
    assert costs[count] <= limit + 1e-6
    following = next(step for step in plan.steps if step > count)
    assert all(costs[gone] > limit - 1e-6 for gone in range(count + 1, min(following, 12)))
    assert all(costs[step] > limit - 1e-6 for step in plan.steps if count < step < 12)
