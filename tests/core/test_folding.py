"""A rule folded without its cells, against its cells folded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from maskviz.core.arrays import BoolArray, ByteArray, Content
from maskviz.core.rules.algebra import Grid, Rule, all_of, any_of
from maskviz.core.rules.extents import Lengths
from maskviz.core.rules.folding import count_cells, fold_rule
from maskviz.core.rules.kinds import Causal, Chunk, Document, Itself, Padding, Window
from maskviz.core.rules.reasons import PARTLY, Reason, primary
from maskviz.render.fold import Fill, Tile, fold_mask
from tests.rules_to_fold import reasons_of, rules, sizes


def folded_cells(codes: ByteArray, meaningless: BoolArray, tile: int) -> ByteArray:
    folded = fold_mask(codes, meaningless, Tile(tile, tile))
    return np.where(folded.fill == Fill.SOME, PARTLY, folded.codes).astype(np.uint8)


@given(st.data(), rules(), sizes, st.integers(1, 9))
def test_a_folded_rule_is_its_cells_folded(data: st.DataObject, rule: Rule, size: Lengths, tile: int) -> None:
    meaningless = data.draw(arrays.arrays(np.bool_, size.queries))
    codes = fold_rule(rule, size, tile, meaningless)
    assert codes is not None
    np.testing.assert_array_equal(codes, folded_cells(primary(reasons_of(rule, size)[0]), meaningless, tile))


@given(st.data(), rules(), sizes, st.integers(1, 5), st.integers(1, 4))
def test_tiles_folded_again_are_larger_tiles(
    data: st.DataObject, rule: Rule, size: Lengths, tile: int, again: int
) -> None:
    meaningless = data.draw(arrays.arrays(np.bool_, size.queries))
    codes = fold_rule(rule, size, tile, meaningless)
    assert codes is not None
    grey = np.logical_and.reduceat(meaningless, np.arange(0, size.queries, tile))
    cells = primary(reasons_of(rule, size)[0])
    np.testing.assert_array_equal(folded_cells(codes, grey, again), folded_cells(cells, meaningless, tile * again))


def is_padding(rule: Rule, query: int) -> bool:
    """Whether a query of a rule's first row is padding, asked leaf by leaf."""
    keeps = [leaf.keep.array[0] for leaf in rule.leaves() if isinstance(leaf, Padding)]
    return any(query < len(keep) and not keep[query] for keep in keeps)


@given(rules(), sizes)
def test_every_cell_is_counted_and_for_every_reason(rule: Rule, size: Lengths) -> None:
    count = count_cells(rule, size)
    cells = reasons_of(rule, size)[0]
    assert count is not None
    cells = cells[[not is_padding(rule, query) for query in range(size.offset, size.offset + size.queries)]]
    assert (count.cells, count.visible) == (cells.size, int((cells == 0).sum()))
    naive = {reason: int(((cells & reason) > 0).sum()) for reason in Reason}
    assert count.blocked == {reason: number for reason, number in naive.items() if number}


def test_a_million_tokens_are_counted_as_a_formula_says() -> None:
    length, window = 1_000_000, 4096
    count = count_cells(all_of(Causal(), Window(window)), Lengths(length, length))
    assert count is not None
    assert count.visible == length * window - window * (window - 1) // 2
    assert count.blocked == {
        Reason.FUTURE: length * (length - 1) // 2,
        Reason.WINDOW: (length - window) * (length - window + 1) // 2,
    }


@pytest.mark.parametrize(
    "rule", [any_of(Causal(), Itself()), Document(Content([[0, 1, 0]], np.int64))], ids=["either", "document in pieces"]
)
def test_a_rule_of_several_runs_is_not_folded(rule: Rule) -> None:
    assert fold_rule(rule, Lengths(3, 3), 2) is None
    assert count_cells(rule, Lengths(3, 3)) is None


def test_the_rule_of_a_row_is_the_batchs_rule_in_that_row() -> None:
    keep = np.array([[True] * 6, [False, False, True, True, True, True]])
    rule = all_of(
        Causal(),
        Chunk(3, Content(np.array([0, 2]), np.int64)),
        Padding(Content(keep, np.bool_)),
        Document(Content(np.array([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 1, 1]]), np.int64)),
    )
    whole = rule.visible(Grid.of(2, 6, 6))
    for row in (0, 1):
        np.testing.assert_array_equal(rule.of_row(row).visible(Grid.of(1, 6, 6))[0], whole[row])
