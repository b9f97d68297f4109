"""A mask holds the claim beside the evidence, and every blocked cell has a reason."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from maskviz.core.arrays import BoolArray, Content
from maskviz.core.rules.algebra import Everything, Grid, Opaque, Rule, all_of, any_of
from maskviz.core.rules.kinds import Band, Causal, Itself, Padding, Window
from maskviz.core.rules.reasons import Reason, primary, shares
from maskviz.core.rules.recognise import recognise
from maskviz.core.run.trace import Mask

KEEP = np.array([[True, True, True, False], [True, True, True, True]])


def cells(rule: Rule, batch: int = 2, size: int = 4) -> BoolArray:
    at = Grid.of(batch, size, size)
    return np.array(np.broadcast_to(rule.visible(at), at.shape))


def test_a_mask_agrees_with_the_rule_that_made_it() -> None:
    rule = all_of(Causal(), Padding(Content(KEEP, np.bool_)))
    mask = Mask.explained(cells(rule), rule)
    assert mask.agrees is True
    assert mask.reasons[0, 0, 3, 3] == Reason.PADDING
    assert mask.reasons[0, 0, 1, 3] == Reason.PADDING | Reason.FUTURE


def test_a_cell_the_rule_does_not_block_is_blocked_for_another_reason() -> None:
    visible = cells(Causal())
    visible[0, 0, 3, 0] = False
    mask = Mask.explained(visible, Causal())
    assert mask.agrees is False
    assert mask.reasons[0, 0, 3, 0] == Reason.OTHER


def test_a_cell_visible_against_the_rule_is_a_disagreement() -> None:
    visible = cells(Causal())
    visible[1, 0, 0, 3] = True
    assert Mask.explained(visible, Causal()).agrees is False


def test_an_opaque_rule_neither_agrees_nor_disagrees() -> None:
    assert Mask.explained(cells(Causal()), Opaque("own")).agrees is None


def test_a_mask_is_checked_at_birth_and_sealed() -> None:
    with pytest.raises(ValueError, match=r"\[batch, 1 or head, query, key\]"):
        Mask(np.ones((2, 2), dtype=bool), np.zeros((2, 2), dtype=np.uint8), Everything())
    with pytest.raises(ValueError, match="needs a reason"):
        Mask(np.zeros((1, 1, 2, 2), dtype=bool), np.zeros((1, 1, 2, 2), dtype=np.uint8), Everything())
    own = cells(Causal())
    mask = Mask.explained(own, Causal())
    with pytest.raises(ValueError, match="read-only"):
        mask.visible[0, 0, 0, 0] = False
    own[0, 0, 0, 0] = False  # the caller's array is the caller's


def test_the_primary_reason_is_the_lowest_bit() -> None:
    reasons = np.array([[0, Reason.FUTURE | Reason.PADDING], [Reason.OTHER, Reason.WINDOW | Reason.FUTURE]], np.uint8)
    assert primary(reasons).tolist() == [[0, Reason.PADDING], [Reason.OTHER, Reason.FUTURE]]


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6)))
def test_shares_count_every_reason_of_a_cell(reasons: np.ndarray[tuple[int, int], np.dtype[np.uint8]]) -> None:
    for reason, share in shares(reasons).items():
        assert share == sum(bool(cell & reason) for cell in reasons.ravel().tolist()) / reasons.size


@pytest.mark.parametrize(
    "rule",
    [
        Everything(),
        Causal(),
        Padding(Content(KEEP, np.bool_)),
        Padding(Content(KEEP, np.bool_), queries=True),
        all_of(Causal(), Padding(Content(KEEP, np.bool_))),
        all_of(Causal(), Window(2)),
        all_of(Causal(), Window(2), Padding(Content(KEEP, np.bool_))),
        all_of(Band(1), Padding(Content(KEEP, np.bool_))),
        any_of(Padding(Content(KEEP, np.bool_)), Itself()),
    ],
    ids=str,
)
def test_known_patterns_are_recognised(rule: Rule) -> None:
    assert recognise(cells(rule), KEEP) == rule


def test_a_window_that_blocks_nothing_is_not_claimed() -> None:
    assert recognise(cells(all_of(Causal(), Window(9))), KEEP) == Causal()


def test_what_is_not_known_is_opaque() -> None:
    visible = cells(Everything())
    visible[0, 0, 1, 2] = False
    assert recognise(visible, KEEP) == Opaque("unrecognised")


@given(hnp.arrays(np.bool_, st.tuples(st.just(1), st.just(1), st.integers(1, 5), st.integers(1, 5))))
def test_a_recognised_rule_explains_every_cell(visible: BoolArray) -> None:
    rule = recognise(visible, None)
    if rule.readable:
        assert Mask.explained(visible, rule).agrees is True
