"""How far each query sees, against the cells of the rule."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskviz.core.arrays import BoolArray, Content
from maskviz.core.rules.algebra import Everything, Grid, Opaque, Rule, all_of, any_of
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.core.rules.kinds import Causal, Document, Itself, Padding, Repositioned, Window
from tests.rules_to_fold import rules, sizes


def cells_of(extents: Extents, batch: int) -> BoolArray:
    """bool [batch, query, key], a cell at a time."""
    seen = np.zeros((batch, extents.first.shape[1], extents.keys), np.bool_)
    for row, query, key in np.ndindex(seen.shape):
        own = extents.of_row(row)
        kept = own.kept is None or own.kept[0, key]
        seen[row, query, key] = own.first[0, query] <= key < own.last[0, query] and kept
    return seen


def asked(rule: Rule, size: Lengths, batch: int) -> BoolArray:
    at = Grid.of(batch, size.queries, size.keys, size.offset)
    visible: BoolArray = np.broadcast_to(rule.visible(at), at.shape)[:, 0]
    return visible


@given(st.data(), st.integers(1, 3), sizes)
def test_the_extents_of_a_conjunction_are_its_cells(data: st.DataObject, batch: int, size: Lengths) -> None:
    rule = data.draw(rules(batch))
    extents = rule.extents(size)
    assert extents is not None
    np.testing.assert_array_equal(cells_of(extents, batch), asked(rule, size, batch))


def test_a_million_documents_ids_are_told_as_runs() -> None:
    ids = np.repeat(np.arange(1000), 1000)
    extents = Document(Content([ids], np.int64)).extents(Lengths(1_000_000, 1_000_000))
    assert extents is not None
    assert (extents.first[0] == ids * 1000).all()
    assert (extents.last[0] == ids * 1000 + 1000).all()


@pytest.mark.parametrize(
    "rule",
    [
        Document(Content([[0, 0, 1, 1, 0]], np.int64)),
        any_of(Causal(), Itself()),
        all_of(Causal(), any_of(Window(3), Itself())),
        all_of(Causal(), Opaque("secret")),
        Repositioned(Causal(), Content([[0, 1, 0, 1]], np.int64)),
    ],
    ids=str,
)
def test_a_rule_of_several_runs_has_no_extents(rule: Rule) -> None:
    assert rule.extents(Lengths(5, 5)) is None


def test_padding_of_queries_reaches_behind_the_keys() -> None:
    rule = Padding(Content([[True, False, True, True]], np.bool_), queries=True)
    extents = rule.extents(Lengths(queries=3, keys=2, offset=2))
    assert extents is not None
    assert extents.last.tolist() == [[2, 2, 0]]
    assert extents.kept is not None
    assert extents.kept.tolist() == [[True, False]]


def test_what_blocks_nothing_sees_everything() -> None:
    extents = Everything().extents(Lengths(2, 3))
    assert extents is not None
    assert (extents.first.tolist(), extents.last.tolist(), extents.kept) == ([[0, 0]], [[3, 3]], None)
