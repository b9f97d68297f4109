"""Why a cell is blocked: every answer held against the mask's own reasons, cell by cell."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskviz.analyse.why import stretches_of
from maskviz.core.arrays import Content
from maskviz.core.errors import UsageError
from maskviz.core.results.why import Condition, Place, Stretch, parse_place
from maskviz.core.rules.algebra import Grid, Opaque, Rule, all_of, any_of
from maskviz.core.rules.kinds import (
    Ahead,
    Band,
    BlockCausal,
    BlockDiffusion,
    Causal,
    Chunk,
    Extra,
    Itself,
    Padding,
    Prefix,
    Repositioned,
    Span,
    UserMask,
    Window,
)
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import Mask
from maskviz.view.why.conditions import because, change
from tests.rules_to_fold import rules

KEYS = 14


def numbers(low: int, high: int) -> st.SearchStrategy[list[int]]:
    return st.lists(st.integers(low, high), min_size=KEYS, max_size=KEYS)


@st.composite
def any_rules(draw: st.DrawFn) -> Rule:
    """Conjunctions with alternatives, exceptions, rules of positions and masks of the user's own among their parts."""
    spans = st.builds(lambda row: Span(Content([row], np.int64)), numbers(-1, 2))
    cells = st.integers(0, 2**20).map(lambda seed: np.random.default_rng(seed).random((1, 1, 9, KEYS)) < 0.7)
    more = st.one_of(
        spans,
        st.just(Itself()),
        st.builds(Extra, st.integers(0, KEYS)),
        st.builds(BlockDiffusion, st.integers(1, 5), st.integers(1, KEYS)),
        cells.map(lambda array: UserMask(Content(array, np.bool_))),
        st.builds(lambda rule, row: Repositioned(rule, Content([row], np.int64)), rules(), numbers(0, 9)),
    )
    alternatives = st.lists(st.one_of(rules(), more), min_size=1, max_size=3).map(lambda parts: any_of(*parts))
    return all_of(*draw(st.lists(st.one_of(rules(), more, alternatives), max_size=3)))


def mask_of(rule: Rule, queries: int = 8, offset: int = 0) -> Mask:
    at = Grid.of(1, queries, KEYS, offset)
    return Mask.explained(np.broadcast_to(rule.visible(at), at.shape).copy(), rule, query_offset=offset)


def lines_of(mask: Mask) -> Iterator[tuple[Stretch, ...]]:
    """The answers for every row and every column."""
    queries, keys = np.arange(mask.visible.shape[2]), np.arange(mask.visible.shape[3])
    yield from (stretches_of(mask, np.array([query]), keys, 0) for query in queries)
    yield from (stretches_of(mask, queries, np.array([key]), 0) for key in keys)


def cells_of(stretch: Stretch) -> list[tuple[int, int]]:
    return [
        (query, key)
        for query in range(stretch.query.first, stretch.query.last + 1)
        for key in range(stretch.key.first, stretch.key.last + 1)
    ]


def leaves_of(condition: Condition) -> Iterator[Condition]:
    if not condition.parts:
        yield condition
    for part in condition.parts:
        yield from leaves_of(part)


@settings(max_examples=60, deadline=None)
@given(any_rules(), st.sampled_from([0, 3]))
def test_what_is_said_to_block_a_cell_is_just_what_the_masks_reasons_say(rule: Rule, offset: int) -> None:
    mask = mask_of(rule, offset=offset)
    for line in lines_of(mask):
        met = []
        for stretch in line:
            for query, key in cells_of(stretch):
                met.append((query, key))
                reasons = Reason(int(mask.reasons[0, 0, query - offset, key]))
                said = Reason(0)
                for condition in stretch.conditions:
                    said |= condition.reasons
                assert said == reasons
                assert stretch.visible == (not reasons)
                assert not stretch.untold
                assert not stretch.against_rule
        assert len(met) == len(set(met)) == (KEYS if line[0].query.first == line[-1].query.last else 8)


@settings(max_examples=60, deadline=None)
@given(rules())
def test_every_condition_says_what_its_rule_says_of_each_cell(rule: Rule) -> None:
    for line in lines_of(mask_of(rule)):
        for stretch in line:
            for condition in stretch.conditions:
                for query, key in cells_of(stretch):
                    at = Grid.of(1, 1, 1, query, key)
                    assert bool(condition.rule.visible(at).all()) is condition.holds


def true_of(sentence: str) -> bool:
    """Whether the inequalities of a sentence are true, as a reader would check them."""
    for name, other, found, sign, limit in re.findall(
        r"([\w -]+?) − ([\w -]+?)\|? = (-?\d+(?: to -?\d+)?) ([<≤>≥]) (?:window|reach) (-?\d+)", sentence
    ):
        ends = [int(number) for number in found.split(" to ")]
        first, second = ([int(n) for n in re.findall(r"\d+", text)] for text in (name, other))
        distances = [one - two for one in first for two in second]
        size = [abs(one) for one in distances] if "|" in sentence else distances
        if "|" not in sentence and (min(size), max(size)) != (min(ends), max(ends)):
            return False
        if max(size) != max(ends):
            return False
        holds = {"<": int.__lt__, "≤": int.__le__, ">": int.__gt__, "≥": int.__ge__}[sign]
        if not all(holds(end, int(limit)) for end in ends):
            return False
    return True


@settings(max_examples=80, deadline=None)
@given(any_rules())
def test_the_inequality_of_every_sentence_is_true(rule: Rule) -> None:
    for line in lines_of(mask_of(rule)):
        for stretch in line:
            for condition in stretch.conditions:
                for leaf in leaves_of(condition):
                    assert true_of(because(leaf)), because(leaf)


@settings(max_examples=60, deadline=None)
@given(rules())
def test_the_number_that_is_needed_shows_the_cells_and_none_smaller_does(rule: Rule) -> None:
    def shows(condition: Condition, stretch: Stretch, number: int) -> bool:
        leaf, cells = condition.rule, cells_of(stretch)
        if isinstance(leaf, Causal | BlockCausal):
            return all(bool(leaf.visible(Grid.of(1, 1, 1, number, key)).all()) for _, key in cells)
        if isinstance(leaf, Prefix):
            prefix = Prefix(Content([number], np.int64))
            return all(bool(prefix.visible(Grid.of(1, 1, 1, query, key)).all()) for query, key in cells)
        assert isinstance(leaf, Window | Ahead | Band | Chunk)
        name = "size" if isinstance(leaf, Window | Chunk) else "reach"
        changed: dict[str, Any] = {name: number}
        other = replace(leaf, **changed)
        return all(bool(other.visible(Grid.of(1, 1, 1, query, key)).all()) for query, key in cells)

    for line in lines_of(mask_of(rule)):
        for stretch in line:
            for condition in stretch.conditions:
                least = condition.needed
                if least is None:
                    continue
                assert shows(condition, stretch, least)
                tried = range(condition.rule.size + 1, least) if isinstance(condition.rule, Chunk) else [least - 1]
                assert not any(shows(condition, stretch, number) for number in tried if number >= 0)


def cell(mask: Mask, query: int, key: int) -> Stretch:
    (stretch,) = stretches_of(mask, np.array([query]), np.array([key]), 0)
    return stretch


SPAN = Span(Content([[-1, 0, 0, 0, *[-1] * 10]], np.int64))
KEEP = Padding(Content([[True] * 9 + [False] * 5], np.bool_))
START = Content([0], np.int64)


@pytest.mark.parametrize(
    ("rule", "query", "key", "said", "changed"),
    [
        (Causal(), 3, 9, "key 9 > query 3: future", "the query would have to be 9 or later"),
        (Window(4), 7, 0, "query 7 − key 0 = 7 ≥ window 4", "a window of at least 8 would show it"),
        (Band(2), 7, 0, "|query 7 − key 0| = 7 > reach 2", "a window of at least ±7 would show it"),
        (Ahead(2), 1, 6, "key 6 − query 1 = 5 > reach 2", "a reach of at least 5 would show it"),
        (KEEP, 1, 9, "key 9 is padding", "the attention mask of token 9 would have to be 1"),
        (
            Chunk(4, START),
            5,
            0,
            "query 5 is in chunk 1 (tokens 4-7), key 0 in chunk 0 (tokens 0-3)",
            "chunks of 6 would hold both",
        ),
        (
            BlockCausal(4),
            2,
            6,
            "key 6 is in block 1 (tokens 4-7), query 2 in block 0 (tokens 0-3): future",
            "the query would have to be 4 or later",
        ),
        (
            Prefix(Content([3], np.int64)),
            2,
            6,
            "key 6 > query 2: future, and behind the prefix (tokens 0-2)",
            "a prefix of at least 7 would show it",
        ),
        (
            BlockDiffusion(2, 4),
            2,
            7,
            "key 7 is in clean block 1, query 2 in noisy block 1",
            "a noisy query sees its own noisy block and the clean blocks before it",
        ),
        (
            BlockDiffusion(2, 4),
            5,
            3,
            "key 3 is in noisy block 1, query 5 in clean block 0: future",
            "a clean query sees the clean blocks up to its own",
        ),
        (
            Causal() | SPAN,
            4,
            6,
            "key 6 > query 4: future; and no exception: query 4 is of no span, key 6 of no span",
            "the query would have to be 6 or later or they would have to be of one span",
        ),
        (
            Repositioned(Causal(), Content([[0, 1, 2, 3, 4, 5, 6, 0, 1, 2, 3, 4, 5, 6]], np.int64)),
            7,
            3,
            "key at position 3 > query at position 0: future",
            "the query would have to be at position 3 or later",
        ),
    ],
)
def test_a_blocked_cell_is_said_with_its_numbers(rule: Rule, query: int, key: int, said: str, changed: str) -> None:
    (condition,) = cell(mask_of(rule), query, key).conditions
    assert (because(condition), change(condition)) == (said, changed)


def test_an_exception_that_lets_a_cell_through_is_named() -> None:
    (condition,) = cell(mask_of(Causal() | SPAN), 1, 3).conditions
    assert because(condition) == "key 3 > query 1: future, but query 1 and key 3 are of span 1"


def test_several_reasons_are_all_there() -> None:
    blocked = cell(mask_of(all_of(Causal(), Window(2), KEEP), queries=14), 13, 9)
    assert [str(one.rule) for one in blocked.conditions] == ["window(2)", "padding"]


def test_a_rule_that_cannot_be_read_is_never_given_a_reason() -> None:
    visible = np.tril(np.ones((1, 1, 4, 4), np.bool_))
    visible[0, 0, 3, 1] = False
    mask = Mask.explained(visible, Opaque("its own choice") & Causal(), otherwise=Reason.SPARSE)
    chosen, future = cell(mask, 3, 1), cell(mask, 0, 1)
    assert chosen.untold is Reason.SPARSE
    assert [one.holds for one in chosen.conditions] == [None]
    assert not future.untold
    assert [one.holds for one in future.conditions] == [False, None]


def test_a_mask_that_departs_from_its_rule_is_believed_before_the_rule() -> None:
    visible = np.tril(np.ones((1, 1, 4, 4), np.bool_))
    visible[0, 0, 0, 3], visible[0, 0, 3, 0] = True, False
    mask = Mask.explained(visible, Causal())
    assert cell(mask, 0, 3).against_rule
    assert cell(mask, 3, 0).untold is Reason.OTHER
    assert cell(mask, 3, 0).conditions == ()


def test_heads_are_told_apart() -> None:
    cells = np.stack([np.ones((4, 4), np.bool_), np.eye(4, dtype=np.bool_)])[None]
    mask = Mask.explained(cells, UserMask(Content(cells, np.bool_)))
    shown = [stretches_of(mask, np.array([1]), np.array([2]), 0, head)[0].visible for head in (0, 1)]
    assert shown == [True, False]


@pytest.mark.parametrize("text", ["7", "7,", ",", "a,b", "7,3,2", "*,*", "1e3,2", "7;3", "0x1,2", "99999999999,1"])
def test_a_place_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UsageError) as error:
        parse_place(text)
    assert error.value.hint


def test_a_place_is_read_with_spaces_stars_and_negative_numbers() -> None:
    assert parse_place(" -1 , * ") == Place(-1, None)
    assert parse_place("*,3") == Place(None, 3)
