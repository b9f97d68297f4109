"""Masks known by their rules as pages: what pictures and tables say is what the cells are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings

from maskviz.analyse.sparsity import mask_cost
from maskviz.core.arrays import Content
from maskviz.core.panels.page import MaskGrid, Note, Table
from maskviz.core.results.results import BlockCount, HeadSize, MaskCost, Ruled, RuledLayers
from maskviz.core.rules.algebra import Rule, all_of, any_of
from maskviz.core.rules.extents import Lengths
from maskviz.core.rules.folding import CellCount
from maskviz.core.rules.kinds import Causal, Itself, Padding, Window
from maskviz.core.rules.reasons import PARTLY, primary, shares
from maskviz.view.masks.symbolic import cost_table, in_units, mask_grid, symbolic_page
from tests.rules_to_fold import reasons_of, rules, sizes


def layers(rule: Rule, size: Lengths, name: str = "", count: int = 1, heads: HeadSize | None = None) -> RuledLayers:
    cost = mask_cost(rule, size)
    assert cost is not None
    return RuledLayers(name, count, cost, heads)


@settings(max_examples=50)
@given(rules(), sizes)
def test_a_short_mask_has_a_place_for_each_cell(rule: Rule, size: Lengths) -> None:
    grid = mask_grid(layers(rule, size))
    cells = reasons_of(rule, size)[0]
    assert grid.tile == 1
    np.testing.assert_array_equal(grid.codes, primary(cells))
    cells = cells[~grid.meaningless]
    assert {entry.word: entry.share for entry in grid.legend} == {
        reason.word: pytest.approx(share) for reason, share in shares(cells).items()
    }
    assert f"{(cells == 0).sum():,} of {cells.size:,} cells visible" in grid.caption
    assert ("several reasons" in grid.caption) == bool((cells & (cells - (cells > 0))).any())


def test_a_million_tokens_have_a_thousand_places_named_by_round_numbers() -> None:
    grid = mask_grid(layers(all_of(Causal(), Window(4096)), Lengths(1_000_000, 1_000_000)))
    assert (grid.tile, grid.codes.shape) == (1000, (1000, 1000))
    assert [token.text for token in grid.keys[:3]] == ["0", "1000", "2000"]
    assert {token.count for token in grid.queries} == {1000}
    # Of 4,096 tokens before a query: its own place, three that all queries of the place see whole, two cut by an edge.
    assert [int(code) for code in grid.codes[500, 494:502]] == [4, PARTLY, PARTLY, 0, 0, 0, PARTLY, 2]


def test_the_last_place_of_an_axis_stands_for_what_is_left() -> None:
    grid = mask_grid(layers(Causal(), Lengths(1500, 2001, offset=501)))
    assert (grid.tile, len(grid.keys), len(grid.queries)) == (5, 401, 300)
    assert (grid.keys[-1].text, grid.keys[-1].count) == ("2000", 1)
    assert (grid.queries[0].text, grid.queries[-1].place) == ("501", 1996)


def test_places_of_padding_queries_are_grey() -> None:
    keep = Padding(Content([np.arange(3000) < 2001], np.bool_))
    grid = mask_grid(layers(all_of(Causal(), keep), Lengths(3000, 3000)))
    assert grid.tile == 5
    assert np.flatnonzero(grid.meaningless).tolist() == list(range(401, 600))


def test_a_rule_of_several_runs_over_many_tokens_has_no_picture() -> None:
    length = 100_000  # a shorter one is drawn cell by cell
    cost = MaskCost(any_of(Causal(), Itself()), Lengths(length, length), CellCount(4, 3, {}), BlockCount(128, 0, 1, 0))
    with pytest.raises(ValueError, match="has no extents"):
        mask_grid(RuledLayers("", 1, cost, None))


def test_the_table_says_what_square_blocks_and_cells_cost() -> None:
    table = cost_table(layers(Causal(), Lengths(1024, 1024), heads=HeadSize(2, 16)))
    assert table.rows == (
        ("the whole square", "1,048,576", "100%", "134 MFLOP"),
        ("blocks of 128 × 128", "589,824", "56.2%", "75.5 MFLOP"),
        ("visible cells", "524,800", "50%", "67.2 MFLOP"),
    )
    assert "28 full, 8 partial, 28 empty; sparsity 43.7500%" in table.caption
    assert "1.05 MB and was not built" in table.caption
    assert "2 heads of width 16" in table.caption


def test_a_models_operations_are_added_up_over_its_layers() -> None:
    size, heads = Lengths(1000, 1000), HeadSize(1, 1)
    both = (layers(Causal(), size, "layers 0-1", 2, heads), layers(all_of(), size, "layer 2", 1, heads))
    page = symbolic_page(Ruled("a-model", "about it", both, ("untold.",), ("noted.",)), None)
    *_, total, untold, noted = page.panels
    assert isinstance(total, Table)
    # 4 operations a cell: twice 36 blocks and once 64, twice 500,500 cells and once 1,000,000.
    assert total.rows[-1] == ("together", "3", "12 MFLOP", "8.91 MFLOP", "8 MFLOP")
    assert isinstance(untold, Note)
    assert isinstance(noted, Note)
    assert (untold.text, noted.text) == ("untold.", "noted.")
    assert (page.title, page.subtitle) == ("a-model", "about it · 1,000 tokens")


def test_a_typed_rule_has_a_picture_and_a_table_alone() -> None:
    page = symbolic_page(Ruled("", "", (layers(Causal(), Lengths(1, 2000, 1999)),)), None)
    assert [type(panel) for panel in page.panels] == [MaskGrid, Table]
    assert page.title == "a mask of 1 × 2,000 tokens"


@pytest.mark.parametrize(
    ("number", "said"), [(0, "0 B"), (999, "999 B"), (999_600, "1 MB"), (1.63e12, "1.63 TB"), (1e14, "100 TB")]
)
def test_numbers_have_three_digits_and_a_prefix(number: float, said: str) -> None:
    assert in_units(number, "B") == said
