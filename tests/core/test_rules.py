"""Rules say what their formula says, compared with a loop a novice would write."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskviz.core.arrays import BoolArray, Content
from maskviz.core.rules.algebra import AllOf, Everything, Grid, NotReadableError, Opaque, Rule, all_of, any_of
from maskviz.core.rules.kinds import (
    Band,
    BlockCausal,
    BlockDiffusion,
    Causal,
    Chunk,
    Document,
    Itself,
    Padding,
    Prefix,
    Repositioned,
    Span,
    UserMask,
    Window,
)
from maskviz.core.rules.reasons import Reason

Sees = Callable[[int, int, int], bool]

KEEP = np.array([[False, False, True, True, True, True], [True] * 6])
DOCUMENTS = np.array([[0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 1, 1]])
SPANS = np.array([[-1, 0, 0, 0, -1, -1], [-1, -1, -1, 1, 1, -1]])
START = np.array([2, 0])
GIVEN = np.random.default_rng(0).random((2, 1, 6, 6)) < 0.5


def naive(sees: Sees, batch: int, queries: int, keys: int, offset: int = 0) -> BoolArray:
    """Ask the sentence about every cell, one at a time."""
    cells = np.zeros((batch, 1, queries, keys), dtype=np.bool_)
    for row in range(batch):
        for query in range(queries):
            for key in range(keys):
                cells[row, 0, query, key] = sees(row, query + offset, key)
    return cells


def evaluated(rule: Rule, batch: int, queries: int, keys: int, offset: int = 0) -> BoolArray:
    at = Grid.of(batch, queries, keys, offset)
    return np.broadcast_to(rule.visible(at), at.shape)


def sees_by_diffusion(size: int, length: int) -> Sees:
    """The sentences of the paper, asked one by one."""

    def sees(row: int, query: int, key: int) -> bool:
        block = [(place if place < length else place - length) // size for place in (query, key)]
        if query < length and key < length:  # noisy to noisy: its own block
            return block[0] == block[1]
        if query < length:  # noisy to clean: strictly earlier blocks
            return block[1] < block[0]
        return key >= length and block[1] <= block[0]  # clean to clean: up to its own block

    return sees


PREFIXES = np.array([2, 4])
RULES: list[tuple[Rule, Sees]] = [
    (Everything(), lambda b, q, k: True),
    (Causal(), lambda b, q, k: k <= q),
    *[(Window(size), lambda b, q, k, size=size: q - k < size) for size in (1, 3, 8)],
    *[(Band(reach), lambda b, q, k, reach=reach: abs(q - k) <= reach) for reach in (0, 1, 3, 8)],
    *[
        (Chunk(size, Content(START, np.int64)), lambda b, q, k, s=size: (q - START[b]) // s == (k - START[b]) // s)
        for size in (1, 3, 8)
    ],
    *[(BlockCausal(size), lambda b, q, k, size=size: k // size <= q // size) for size in (1, 2, 4, 8)],
    (Prefix(Content(PREFIXES, np.int64)), lambda b, q, k: k < PREFIXES[b] or k <= q),
    *[
        (BlockDiffusion(size, length), sees_by_diffusion(size, length))
        for size, length in ((1, 3), (2, 3), (3, 3), (1, 1), (4, 9))
    ],
    (Itself(), lambda b, q, k: q == k),
    (Padding(Content(KEEP, np.bool_)), lambda b, q, k: bool(KEEP[b, k])),
    (Padding(Content(KEEP, np.bool_), queries=True), lambda b, q, k: bool(KEEP[b, k] and KEEP[b, q])),
    (Document(Content(DOCUMENTS, np.int64)), lambda b, q, k: bool(DOCUMENTS[b, q] == DOCUMENTS[b, k])),
    (Span(Content(SPANS, np.int64)), lambda b, q, k: bool(SPANS[b, q] == SPANS[b, k] >= 0)),
    (UserMask(Content(GIVEN, np.bool_)), lambda b, q, k: bool(GIVEN[b, 0, q, k])),
    (UserMask(Content(GIVEN[:1], np.bool_)), lambda b, q, k: bool(GIVEN[0, 0, q, k])),
    (UserMask(Content(KEEP[:, None, None], np.bool_)), lambda b, q, k: bool(KEEP[b, k])),
    (UserMask(Content(GIVEN[..., :4, :4], np.bool_)), lambda b, q, k: q < 4 and k < 4 and bool(GIVEN[b, 0, q, k])),
    (all_of(Causal(), Window(2)), lambda b, q, k: 0 <= q - k < 2),
    (any_of(Causal(), Span(Content(SPANS, np.int64))), lambda b, q, k: k <= q or bool(SPANS[b, q] == SPANS[b, k] >= 0)),
]


@pytest.mark.parametrize(("rule", "sees"), RULES, ids=lambda value: str(value) if isinstance(value, Rule) else "")
def test_rule_says_what_the_loop_says(rule: Rule, sees: Sees) -> None:
    assert np.array_equal(evaluated(rule, 2, 6, 6), naive(sees, 2, 6, 6))


@given(st.integers(1, 5), st.integers(1, 6))
def test_of_block_diffusion_a_later_block_is_future_and_the_rest_is_left_out(size: int, length: int) -> None:
    rule = BlockDiffusion(size, length)
    why = np.broadcast_to(rule.reasons(Grid.of(1, 2 * length, 2 * length)), (1, 1, 2 * length, 2 * length))[0, 0]
    sees = sees_by_diffusion(size, length)
    for query, key in np.ndindex(why.shape):
        later = key % length // size > query % length // size
        expected = 0 if sees(0, query, key) else Reason.FUTURE if later else Reason.SPARSE
        assert why[query, key] == expected, (query, key)


def test_queries_of_a_decode_step_count_from_their_offset() -> None:
    assert np.array_equal(evaluated(Causal(), 1, 2, 5, offset=3), naive(lambda b, q, k: k <= q, 1, 2, 5, offset=3))
    assert evaluated(Causal(), 1, 1, 5, offset=4).all()


def test_positions_past_the_end_of_the_padding_are_padding() -> None:
    assert evaluated(Padding(Content([[True, True]], np.bool_)), 1, 1, 4).tolist() == [[[[True, True, False, False]]]]


def test_a_repositioned_rule_counts_positions_and_not_indices() -> None:
    positions = Content([[0, 1, 2, 0, 1]], np.int64)
    seen = evaluated(Repositioned(Causal(), positions), 1, 5, 5)[0, 0]
    assert seen[1].tolist() == [True, True, False, True, True]


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        (all_of(Padding(Content(KEEP, np.bool_)), Window(4096), Causal()), "causal ∧ window(4096) ∧ padding"),
        (Causal() & Window(4), "causal ∧ window(4)"),
        (Causal() | Itself(), "causal ∨ itself"),
        (any_of(Causal(), Itself()) & Padding(Content(KEEP, np.bool_)), "(causal ∨ itself) ∧ padding"),
        (all_of(Everything(), Causal()), "causal"),
        (all_of(), "bidirectional"),
        (Band(64), "window(±64)"),
        (Opaque("modeling_x.own_mask"), "opaque(modeling_x.own_mask)"),
    ],
)
def test_rules_print_as_they_are_said(rule: Rule, sentence: str) -> None:
    assert str(rule) == sentence


def test_equal_rules_are_equal_and_hash_alike() -> None:
    one, other = Padding(Content(KEEP, np.bool_)), Padding(Content(KEEP.copy(), np.bool_))
    assert one == other
    assert hash(one) == hash(other)
    assert one != Padding(Content(~KEEP, np.bool_))
    assert all_of(Causal(), Causal()) == Causal()


def test_every_leaf_that_blocks_a_cell_is_among_its_reasons() -> None:
    at = Grid.of(2, 6, 6)
    rule = all_of(Causal(), Window(3), Padding(Content(KEEP, np.bool_)))
    reasons = np.broadcast_to(rule.reasons(at), at.shape)
    assert reasons[0, 0, 2, 4] == Reason.FUTURE
    assert reasons[0, 0, 5, 0] == Reason.WINDOW | Reason.PADDING
    assert reasons[1, 0, 5, 0] == Reason.WINDOW
    assert np.array_equal(reasons == 0, evaluated(rule, 2, 6, 6))


def test_an_exception_that_does_not_apply_is_no_reason() -> None:
    at = Grid.of(1, 3, 3)
    assert any_of(Causal(), Itself()).reasons(at)[0, 0, 0, 2] == Reason.FUTURE


def test_an_opaque_rule_refuses_to_guess() -> None:
    rule = all_of(Causal(), Opaque("secret"))
    assert not rule.readable
    with pytest.raises(NotReadableError, match="secret"):
        rule.visible(Grid.of(1, 2, 2))
    assert rule.reasons(Grid.of(1, 2, 2))[0, 0, 0, 1] == Reason.FUTURE


def test_leaves_are_the_parts_that_combine_nothing() -> None:
    rule = all_of(any_of(Causal(), Itself()), Window(2))
    assert set(rule.leaves()) == {Causal(), Itself(), Window(2)}


leaf_rules = st.one_of(
    st.just(Causal()),
    st.just(Everything()),
    st.just(Itself()),
    st.integers(1, 9).map(Window),
    st.integers(0, 9).map(Band),
)


@given(st.lists(leaf_rules, min_size=1, max_size=4), st.integers(1, 7), st.integers(1, 7))
def test_combinations_are_conjunction_and_disjunction(rules: list[Rule], queries: int, keys: int) -> None:
    cells = [evaluated(rule, 1, queries, keys) for rule in rules]
    assert np.array_equal(evaluated(all_of(*rules), 1, queries, keys), np.logical_and.reduce(cells))
    assert np.array_equal(evaluated(any_of(*rules), 1, queries, keys), np.logical_or.reduce(cells))


def test_rules_of_no_extent_are_refused() -> None:
    with pytest.raises(ValueError, match="negative size"):
        Window(-1)
    with pytest.raises(ValueError, match="holds no token"):
        Chunk(0, Content([0], np.int64))
    with pytest.raises(ValueError, match="holds no token"):
        BlockCausal(0)
    with pytest.raises(ValueError, match="negative length"):
        Prefix(Content([-1], np.int64))
    with pytest.raises(ValueError, match="holds no token"):
        BlockDiffusion(2, 0)
    with pytest.raises(ValueError, match="needs a rule"):
        AllOf(())
