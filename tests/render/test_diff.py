"""Two masks beside each other, drawn: no kind of cell is lost or mixed, in colour and without."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from maskviz.core.panels.page import DiffGrid, Page, Token
from maskviz.render.fold import Tile, fold_differences
from maskviz.render.image.page import image_bytes
from maskviz.render.palette import DIFFERENCES
from maskviz.render.terminal.page import render


def grid(codes: np.ndarray[tuple[int, int], np.dtype[np.uint8]], padding: int = 0) -> DiffGrid:
    queries, keys = (tuple(Token(str(place), place=place) for place in range(count)) for count in codes.shape)
    meaningless = np.arange(len(queries)) < padding
    return DiffGrid("masks", "A beside B", codes, queries, keys, meaningless)


def drawn(panel: DiffGrid, *, encoding: str = "utf-8", width: int = 60) -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    render(Page("p", "", (panel,)), Console(file=stream, width=width, color_system=None))
    stream.flush()
    return raw.getvalue().decode(encoding)


CODES = np.array([[3, 0, 0], [1, 3, 2], [1, 3, 3]], np.uint8)


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_every_kind_has_a_character_of_its_own(encoding: str) -> None:
    marks = [swatch.ascii_character if encoding == "ascii" else swatch.character for swatch in DIFFERENCES]
    assert len(set(marks)) == 4
    rows = [line[2:] for line in drawn(grid(CODES), encoding=encoding).splitlines() if line[:2] in ("0 ", "1 ", "2 ")]
    assert [row[::2].ljust(3) for row in rows] == ["".join(marks[code] for code in row) for row in CODES.tolist()]


def test_the_legend_counts_the_cells_of_rows_with_a_meaning() -> None:
    shown = drawn(grid(CODES, padding=1))
    for words in ("only A 2", "only B 1", "both 3", "neither 0", "grey row"):
        assert words in shown


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 9), st.integers(1, 4), st.integers(1, 4))
def test_a_tile_shows_the_rarer_kind_that_differs_and_never_a_kind_it_has_not(
    seed: int, queries: int, keys: int, rows: int, columns: int
) -> None:
    random = np.random.default_rng(seed)
    codes = random.choice(4, size=(queries, keys), p=[0.5, 0.1, 0.1, 0.3]).astype(np.uint8)
    shown, _ = fold_differences(codes, np.zeros(queries, np.bool_), Tile(rows, columns))
    number = [int((codes == kind).sum()) for kind in range(4)]
    for row in range(shown.shape[0]):
        for column in range(shown.shape[1]):
            tile = codes[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns]
            present = set(tile.ravel().tolist())
            kind = int(shown[row, column])
            assert kind in present
            candidates = present & {1, 2} or present
            assert number[kind] == min(number[one] for one in candidates)


def test_rows_of_padding_do_not_colour_a_tile() -> None:
    codes = np.array([[1, 1], [3, 3]], np.uint8)
    shown, grey = fold_differences(codes, np.array([True, False]), Tile(2, 1))
    assert shown.tolist() == [[3, 3]]
    assert grey.tolist() == [False]


def test_one_cell_among_a_million_is_seen() -> None:
    codes = np.zeros((1000, 1000), np.uint8)
    codes[700, 31] = 2
    assert "B" in drawn(grid(codes)).replace("only B", "").replace("A beside B", "")


@pytest.mark.parametrize("format", ["png", "svg", "pdf"])
def test_pictures_are_the_same_bytes_twice(format: str) -> None:
    page = Page("p", "", (grid(CODES, padding=1),))
    one, other = (image_bytes(page, format) for _ in range(2))  # type: ignore[arg-type]
    assert one == other


def test_codes_have_to_fit_the_tokens() -> None:
    with pytest.raises(ValueError, match="do not fit"):
        DiffGrid("", "", CODES, (Token("a"),), (Token("a"),), np.zeros(1, np.bool_))
