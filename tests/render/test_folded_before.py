"""Masks that were folded before they came: their places stand for runs of tokens, and labels and notes say so."""

from __future__ import annotations

import io
import re

import numpy as np
import pytest
from matplotlib.text import Text
from rich.console import Console

from maskviz.core.panels.page import LegendEntry, MaskGrid, Page, Token
from maskviz.core.rules.reasons import PARTLY
from maskviz.render.fold import Tile, fold_mask, tile_to_fit
from maskviz.render.image.grid import mask_colours
from maskviz.render.image.page import figure
from maskviz.render.numbers import share_text
from maskviz.render.palette import SOME, VISIBLE, rgb, swatch_of
from maskviz.render.terminal.page import render


def numbered(count: int, tile: int, offset: int = 0) -> tuple[Token, ...]:
    return tuple(Token(str(at), count=tile, place=at) for at in range(offset, offset + count * tile, tile))


def folded(queries: int, keys: int, tile: int, offset: int = 0) -> MaskGrid:
    """A causal mask of places, with some cells of each place on the diagonal visible."""
    query, key = np.indices((queries, keys))
    codes = np.where(key > query, 2, np.where(key == query, PARTLY, 0)).astype(np.uint8)
    names = numbered(queries, tile, offset), numbered(keys, tile)
    return MaskGrid("causal", "", codes, *names, np.zeros(queries, np.bool_), (LegendEntry(2, "future", 0.5),), tile)


def drawn(grid: MaskGrid, width: int = 80) -> str:
    buffer = io.StringIO()
    render(Page("", "", (grid,)), Console(file=buffer, width=width, color_system=None))
    return buffer.getvalue()


def test_a_place_that_is_partly_visible_is_drawn_as_some() -> None:
    lines = drawn(folded(3, 3, 100)).splitlines()
    assert [line.rstrip() for line in lines if re.match(r" *\d+ [█░]", line)] == [
        "  0 ░░· ·",
        "100 ██░░·",
        "200 ████░░",
    ]


def test_the_terminal_folds_to_round_numbers_of_tokens_and_says_the_true_size() -> None:
    text = drawn(folded(1000, 1000, 1000))
    assert "       0         200000    400000    600000    800000" in text
    assert re.findall(r"^ *(\d+) [░█]", text, re.MULTILINE) == [str(at) for at in range(0, 1_000_000, 20_000)]
    assert "each place is none, some (░) or all (█) of 20000 × 20000 cells" in text
    assert max(map(len, text.splitlines())) <= 80


def test_queries_behind_a_cache_keep_their_numbers() -> None:
    assert re.findall(r"^ *(\d+) [░█]", drawn(folded(3, 5, 100, offset=200)), re.MULTILINE) == ["200", "300", "400"]


def test_a_folded_image_has_round_labels_and_the_true_size() -> None:
    words = [text.get_text() for text in figure(Page("", "", (folded(1000, 1000, 1000),))).findobj(Text)]
    numbers = [int(word.replace(",", "")) for word in words if word.replace(",", "").isdigit()]
    assert sorted(numbers) == sorted([*range(0, 1_000_000, 100_000)] * 2)
    assert "each place is none, some or all of 1000 × 1000 cells" in words


def test_a_place_of_an_image_that_is_partly_visible_has_the_colour_of_some() -> None:
    grid = folded(3, 3, 100)
    colours = mask_colours(fold_mask(grid.codes, grid.meaningless, Tile(1, 1)))
    assert [tuple(colour) for colour in colours[1]] == [rgb(VISIBLE.fill), rgb(SOME.fill), rgb(swatch_of(2).fill)]


def test_a_single_row_of_places_is_high_enough_to_be_seen() -> None:
    drawn = figure(Page("", "", (folded(1, 1000, 100, offset=99_900),)))
    [picture] = [axes.get_window_extent() for axes in drawn.axes if axes.images]
    assert picture.height / drawn.dpi > 0.3


@pytest.mark.parametrize("tokens", [1, 2, 5, 50, 1000, 96])
def test_a_second_fold_spans_a_round_number_of_tokens_where_one_can(tokens: int) -> None:
    for places in (7, 33, 64, 100):
        tile = tile_to_fit(1000, places, tokens)
        assert -(-1000 // tile) <= places
        if tokens not in (1, 96):
            assert str(tile * tokens).rstrip("0") in ("1", "2", "5")


@pytest.mark.parametrize(
    ("share", "said"), [(0.0, "0.0%"), (1e-9, "under 0.1%"), (0.0004, "under 0.1%"), (0.0006, "0.1%"), (0.5, "50.0%")]
)
def test_a_share_that_is_not_zero_never_looks_like_it(share: float, said: str) -> None:
    assert share_text(share) == said
