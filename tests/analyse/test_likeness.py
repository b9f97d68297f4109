"""Masks that look the same are told from those that do not, cell by cell, at every length."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest

from maskviz.analyse.likeness import NotComparableError, look_alikes, mask_set, without_content
from maskviz.core.arrays import Content
from maskviz.core.results.results import MaskSet
from maskviz.core.rules.algebra import Everything, Opaque, Rule, all_of, any_of
from maskviz.core.rules.kinds import (
    Ahead,
    Band,
    BlockCausal,
    BlockDiffusion,
    Causal,
    Chunk,
    Padding,
    Prefix,
    Span,
    UserMask,
    Window,
)
from maskviz.core.run.trace import CONTENT, SilentLayer
from maskviz.core.words import Stack
from tests.core.test_rules import sees_by_diffusion
from tests.tracing.conftest import example_of

ONE = Content([0], np.int64)
RULES: list[tuple[Rule, ...]] = [
    (Everything(),),
    (Causal(),),
    (Causal() & Window(4),),
    (Causal() & Window(9),),
    (Causal() & Band(3),),
    (Causal() & Chunk(4, ONE),),
    (Causal() & Chunk(9, ONE),),
    (Causal(), Causal() & Window(9)),
    (Causal(), Causal() & Chunk(9, ONE)),
    (Causal() & Window(4), Causal()),
    (BlockCausal(3),),
    (Prefix(ONE),),
    (Prefix(Content([4], np.int64)), Causal()),
    (BlockDiffusion(2, 6),),
    (Band(3),),
    (Band(4),),
    (Window(4) & Ahead(3),),
    (Everything(), Band(4)),
]
LONGEST = 24


def cells(rule: Rule, length: int) -> tuple[tuple[bool, ...], ...]:
    """The mask a rule makes, by the words of its docstring."""
    return tuple(tuple(seen(rule, query, key) for key in range(length)) for query in range(length))


def seen(rule: Rule, query: int, key: int) -> bool:
    for leaf in rule.leaves():  # every rule here is a conjunction
        match leaf:
            case Causal() if key > query:
                return False
            case Window(size) if query - key >= size:
                return False
            case Band(reach) if abs(query - key) > reach:
                return False
            case Ahead(reach) if key - query > reach:
                return False
            case BlockCausal(size) if key // size > query // size:
                return False
            case Prefix(length) if key > query and key >= length.array[0]:
                return False
            case BlockDiffusion(size, length) if not sees_by_diffusion(size, length)(0, query, key):
                return False
            case Chunk(size) if query // size != key // size:
                return False
    return True


def same(one: tuple[Rule, ...], other: tuple[Rule, ...], length: int) -> bool:
    return {cells(rule, length) for rule in one} == {cells(rule, length) for rule in other}


def of(*rules: Rule) -> MaskSet:
    return MaskSet("x", {"self": rules})


@pytest.mark.parametrize("length", [1, 3, 8])
def test_look_alikes_are_those_whose_cells_are_the_same_and_until_they_differ(length: int) -> None:
    for one, other in itertools.product(RULES, RULES):
        found = look_alikes(of(*one), [of(*other)], length)
        assert bool(found) is same(one, other, length), (one, other)
        if found:
            differ = [longer for longer in range(length, LONGEST) if not same(one, other, longer)]
            assert found[0].until == (differ[0] - 1 if differ else None), (one, other)


def test_stacks_are_compared_one_by_one() -> None:
    t5: dict[str, tuple[Rule, ...]] = {"encoder": (Everything(),), "decoder": (Causal(),), "cross": (Everything(),)}
    assert look_alikes(MaskSet("t5", t5), [MaskSet("bart", t5)], 8)
    assert not look_alikes(MaskSet("t5", t5), [MaskSet("odd", t5 | {"cross": (Causal(),)})], 8)
    assert not look_alikes(MaskSet("t5", t5), [of(Everything(), Causal())], 8)


def test_a_window_beyond_any_row_is_no_work() -> None:
    found = look_alikes(of(Causal()), [of(Causal() & Window(10**15)), of(Causal())], 64)
    assert [one.until for one in found] == [10**15, None]


def test_masks_that_are_known_up_to_a_length_are_compared_up_to_it() -> None:
    doge = MaskSet("doge", {"self": (Causal(),)}, until=16)
    assert [one.until for one in look_alikes(of(Causal()), [doge], 16)] == [16]
    assert look_alikes(of(Causal()), [doge], 17) == ()
    with pytest.raises(NotComparableError, match="beyond 16 tokens"):
        look_alikes(doge, [of(Causal())], 17)


def test_what_texts_of_real_tokens_alone_do_not_have_is_left_out() -> None:
    whole, no_span = Content(np.ones((1, 8)), np.bool_), Span(Content(np.full((1, 8), -1), np.int64))
    assert without_content(all_of(Causal(), Padding(whole))) == Causal()
    assert without_content(all_of(any_of(Causal(), no_span), Window(3))) == Causal() & Window(3)
    assert without_content(Padding(whole)) == Everything()


@pytest.mark.parametrize(
    "rule",
    [
        Opaque("x"),
        all_of(Causal(), Opaque("x")),
        Padding(Content([[1, 0]], np.bool_)),
        any_of(Causal(), Span(Content([[0, 0]], np.int64))),
        UserMask(Content(np.ones((1, 1, 2, 2)), np.bool_)),
    ],
    ids=str,
)
def test_what_depends_on_more_than_positions_is_not_compared(rule: Rule) -> None:
    with pytest.raises(NotComparableError, match="more than positions"):
        without_content(rule)


def test_layers_that_cannot_be_told_are_not_compared() -> None:
    trace = replace(example_of("bert").trace, silent=(SilentLayer(Stack.ENCODER, 1, "x", CONTENT),))
    with pytest.raises(NotComparableError, match="without weights"):
        mask_set(trace)
    mamba = replace(trace, calls=(), silent=(SilentLayer(Stack.DECODER, 0, "x", "state space"),))
    with pytest.raises(NotComparableError, match="no layer has an attention matrix"):
        mask_set(mamba)
