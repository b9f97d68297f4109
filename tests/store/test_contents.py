"""What a run file may hold grows with what a run may be: whatever there is can be written and is opened."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

from maskviz.core.arrays import Content
from maskviz.core.rules import algebra, kinds
from maskviz.core.rules.algebra import AllOf, AnyOf, Combination, Everything, Leaf, Opaque, Rule
from maskviz.core.rules.kinds import (
    Ahead,
    Band,
    BlockCausal,
    BlockDiffusion,
    Causal,
    Chunk,
    Document,
    Extra,
    Itself,
    Padding,
    Prefix,
    Repositioned,
    Span,
    UserMask,
    Window,
)
from maskviz.store.rules import RuleIn, rule_from_json, rule_to_json
from maskviz.store.schema import Array, MisfitError

ROWS, HEADS = 2, 4
PLACES = Content([[0, 1, 2], [0, 0, 1]], np.int64)
RULES: list[Rule] = [
    Everything(),
    Causal(),
    Itself(),
    Opaque("own"),
    Window(4),
    Band(2),
    Ahead(-1),
    Extra(7),
    Chunk(2, Content([0, 1], np.int64)),
    BlockCausal(4),
    Prefix(Content([0, 3], np.int64)),
    BlockDiffusion(2, 6),
    Padding(Content([[1, 1, 0], [1, 1, 1]], np.bool_), queries=True),
    Document(PLACES),
    Span(PLACES),
    UserMask(Content(np.ones((1, HEADS, 3, 3)), np.bool_)),
    AllOf((Causal(), AnyOf((Window(4), Itself())))),
    AnyOf((Causal(), Span(PLACES))),
    Repositioned(AllOf((Causal(), Window(3))), PLACES),
]


def test_every_kind_of_rule_is_written_and_opened() -> None:
    there = {
        kind
        for module in (algebra, kinds)
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if issubclass(kind, Rule) and kind not in (Rule, Leaf, Combination)
    }
    assert {type(rule) for rule in RULES} == there


@pytest.mark.parametrize("rule", RULES, ids=str)
def test_what_is_written_of_a_rule_is_what_may_be_held(rule: Rule) -> None:
    written = json.loads(json.dumps(rule_to_json(rule)))
    RuleIn(ROWS, HEADS).check(written)
    assert rule_from_json(written) == rule


def test_rules_in_each_other_have_an_end() -> None:
    nested = rule_to_json(Causal())
    for _ in range(8):
        nested = {"all_of": [nested]}
    with pytest.raises(MisfitError, match="nested too deeply"):
        RuleIn(ROWS, HEADS).check(nested)


def test_an_axis_of_a_name_has_one_length() -> None:
    array, lengths = Array("float32", (2, "queries", "keys")), dict[str, int]()
    array.check_form(np.dtype("float32"), (2, 5, 7), lengths)
    array.check_form(np.dtype("float32"), (2, 5, 7), lengths)
    for shape in ((2, 5, 6), (2, 5), (3, 5, 7), (2, 0, 7), (2, 5, 7, 1)):
        with pytest.raises(MisfitError, match="its shape is"):
            array.check_form(np.dtype("float32"), shape, lengths)
    with pytest.raises(MisfitError, match="it is >f4"):
        array.check_form(np.dtype(">f4"), (2, 5, 7), lengths)
