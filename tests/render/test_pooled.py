"""Pooled and folded pictures say the size of a place in cells, what it shows, and the true extremes."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from maskviz.core.arrays import FloatArray
from maskviz.core.panels.page import HeadGrid, HeadTile, Heatmap, Page, Panel, Pooled, Token
from maskviz.render.fold import Tile, extremes_of, place_words
from maskviz.render.fonts import typeface_for
from maskviz.render.image.canvas import Paper
from maskviz.render.image.grid import axes_for
from maskviz.render.image.page import image_bytes
from maskviz.render.terminal.page import render

POOLED = Pooled(64, "the largest weight in it", 0.875)


def runs(places: int, tile: int, first: int = 0) -> tuple[Token, ...]:
    return tuple(Token(str(first + n * tile), count=tile, place=first + n * tile) for n in range(places))


def pooled_map(places: int, tile: int = 64) -> Heatmap:
    values = np.random.default_rng(0).uniform(size=(places, places)).astype(np.float32)
    nothing = np.zeros((places, places), np.bool_)
    axis = runs(places, tile)
    return Heatmap(
        "head 0.0", "", values, nothing, axis, axis, nothing[0], pooled=Pooled(tile, POOLED.shows, POOLED.largest)
    )


def dense_grid(values: FloatArray) -> HeadGrid:
    blocked = np.triu(np.ones(values.shape, np.bool_), 1)
    tile = HeadTile(0, 0, values, blocked, np.zeros(len(values), np.bool_))
    return HeadGrid("heads", "", ("layer 0",), ("head 0",), (tile,))


def drawn(panel: Panel, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None, _environ={})
    render(Page("title", "", (panel,)), console)
    assert isinstance(console.file, io.StringIO)
    return " ".join(console.file.getvalue().split())


def in_svg(panel: Panel) -> str:
    text = re.sub("<[^>]*>", " ", image_bytes(Page("title", "", (panel,)), "svg").decode())
    return " ".join(text.split())


def test_one_cell_a_place_needs_no_words() -> None:
    assert place_words(Tile(1, 1), None, (0.0, 1.0)) == ""


def test_a_fold_multiplies_the_tile_a_map_was_pooled_into() -> None:
    assert place_words(Tile(1, 1), POOLED, None) == (
        "each place is 64 × 64 cells: the largest weight in it; the largest single value is 0.88"
    )
    assert place_words(Tile(2, 3), POOLED, None).startswith("each place is 128 × 192 cells: the largest of 2 × 3 tiles")


def test_extremes_are_of_visible_cells_of_real_queries() -> None:
    values = np.array([[0.5, 9.0], [np.nan, 0.25], [7.0, 8.0]], np.float32)
    blocked = np.array([[False, True], [False, False], [False, False]])
    meaningless = np.array([False, False, True])
    assert extremes_of([(values, blocked, meaningless)]) == (0.25, 0.5)
    assert extremes_of([(values, np.ones_like(blocked), meaningless)]) is None


def test_a_dense_picture_folded_when_drawn_says_its_true_extremes() -> None:
    values = np.full((120, 120), 0.01, np.float32)
    values[77, 3], values[90, 5], values[0, 119] = 0.93, 0.002, 5.0  # the last is blocked
    said = "each place is the largest of {} cells; single values run from 0.0020 to 0.93"
    assert said.format("10 × 5") in drawn(dense_grid(values))
    wide = np.tile(values, (3, 3))
    assert "single values run from 0.0020 to 5.0" in in_svg(dense_grid(wide))


def test_pooled_pictures_say_their_tile_in_the_terminal_and_in_figures() -> None:
    said = "each place is 64 × 64 cells: the largest weight in it; the largest single value is 0.88"
    panel = pooled_map(20)
    grid = HeadGrid(
        "heads", "", ("layer 0",), ("head 0",),
        (HeadTile(0, 0, panel.values, panel.blocked, panel.meaningless),), pooled=POOLED,
    )  # fmt: skip
    assert said in drawn(panel)
    assert said in drawn(grid)
    assert said in in_svg(panel)
    assert said in in_svg(grid)
    assert "folded 2 × 2 to fit 80 columns: each place is 128 × 128 cells: the largest of 2 × 2 tiles" in drawn(
        pooled_map(140)
    )
    assert "shows every tile" in drawn(pooled_map(140))


@pytest.mark.parametrize(("places", "tile", "expected"), [(128, 64, "1,000"), (100, 7, "100"), (30, 1000, "5,000")])
def test_a_pooled_axis_has_round_numbers_where_their_tokens_lie(places: int, tile: int, expected: str) -> None:
    paper = Paper(typeface_for(["0"], 150), 150, 10.0, crowded=False)
    axes = axes_for(runs(places, tile), runs(places, tile), paper)
    numbers = {int(text.replace(",", "")): place for place, text, _ in axes.columns}
    assert int(expected.replace(",", "")) in numbers
    assert 0 in numbers
    for number, place in numbers.items():
        assert int(place + 0.5) == number // tile
        assert number < places * tile
    steps = np.diff(sorted(numbers))
    assert (steps == steps[0]).all()


def test_a_pooled_axis_in_the_terminal_has_first_tokens_and_a_ruler_of_them() -> None:
    text = drawn(pooled_map(20))
    assert " 64 " in text
    assert " 1216 " in text
    assert " 0 320 640 960 " in text


def test_a_figure_does_not_grow_with_the_text_its_map_was_pooled_from() -> None:
    short, long = pooled_map(64, 8), pooled_map(64, 512)
    sizes = [len(image_bytes(Page("title", "", (replace(panel, caption=""),)), "png")) for panel in (short, long)]
    assert abs(sizes[0] - sizes[1]) < 0.05 * sizes[0]
