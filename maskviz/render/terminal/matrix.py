"""A plain map of numbers, such as one number per head, in the terminal."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from maskviz.core.arrays import FloatArray
from maskviz.core.panels.page import Matrix
from maskviz.core.words import Scale
from maskviz.render.fold import Tile, fold_farthest, tile_to_fit
from maskviz.render.numbers import cell_text, number_text, stretch_words
from maskviz.render.palette import (
    NEGATIVE_INK,
    NEGATIVE_SHADES,
    POSITIVE_INK,
    POSITIVE_SHADES,
    hexadecimal,
    level,
    lightness,
    signed_level,
    value_colours,
)
from maskviz.render.terminal.pictures import shade
from maskviz.render.terminal.screen import Screen, flowed, heading, left, short_name

_SCREENS = 3  # numbers in several blocks may be this many times the height of the terminal
_HEIGHT = 24  # lines of a terminal that does not say
_LENGTHS = (6, 5)  # characters of a number, the shorter where the longer do not fit side by side
_THRESHOLDS = (1 / 8, 1 / 2)  # shares of the scale at which a place without colour gets its next character
_SAMPLE = 21  # columns of the scale; odd, so that zero is one of them


def matrix_lines(panel: Matrix, screen: Screen) -> list[Text]:
    """Return the numbers in coloured cells; columns that do not fit go into further blocks below.

    Where that would take more than three screens, each place is a colour or a character without its number, and
    stands for several cells where even those are too many.
    """
    margin = _margin([screen.words(name) for name in panel.row_names], screen)
    heads = len(panel.column_names)
    for most in _LENGTHS:
        texts = [[cell_text(value, signed=panel.centred, most=most) for value in row] for row in panel.values.tolist()]
        cell = max(3, max((len(text) for row in texts for text in row), default=0)) + 1
        per_block = max(1, (screen.width - margin + 1) // cell)
        if per_block >= heads:
            break
    starts = range(0, heads, per_block)
    lines = heading(screen, panel.title, panel.caption)
    if len(starts) > 1 and len(starts) * (len(texts) + 1) > _SCREENS * (screen.height or _HEIGHT):
        return lines + _map_lines(panel, screen)
    for start in starts:
        lines += _block(panel, texts, slice(start, start + per_block), (margin, cell), screen)
    return lines + _legend(panel, "number", screen)


def _margin(names: list[str], screen: Screen) -> int:
    return min(screen.width // 2, max(map(cell_len, names), default=0)) + 1


def _label(name: str, margin: int, screen: Screen) -> Text:
    return Text(left(screen.fit(name, margin - 1), margin))


def _block(panel: Matrix, texts: list[list[str]], columns: slice, size: tuple[int, int], screen: Screen) -> list[Text]:
    """Return one block of numbers; `size` is the columns of the margin and of a cell."""
    margin, cell = size
    names = [screen.fit(short_name(screen.words(name)), cell - 1) for name in panel.column_names[columns]]
    line = " " * margin + "".join(" " * (cell - 1 - cell_len(name)) + name + " " for name in names)
    lines = [Text(line.rstrip(), style="dim")]
    colours = value_colours(panel.values[:, columns], panel.top, panel.centred)
    for row, name in enumerate(panel.row_names):
        line_of_cells = _label(screen.words(name), margin, screen)
        for text, colour in zip(texts[row][columns], colours[row], strict=True):
            if screen.shaded:
                style = _ink(text) if panel.centred else ""
            else:
                style = f"{'#000000' if lightness(colour) > 120 else '#ffffff'} on {hexadecimal(colour)}"
            line_of_cells.append(f"{text:>{cell - 1}} ", style=style if text else "")
        lines.append(line_of_cells)
    return lines


def _ink(text: str) -> str:
    return {"+": POSITIVE_INK, "-": NEGATIVE_INK}.get(text[:1], "")


def _map_lines(panel: Matrix, screen: Screen) -> list[Text]:
    """Return a place without a number for each cell, or for several, and what they mean."""
    shape = panel.values.shape
    rows = tile_to_fit(shape[0], _SCREENS * screen.height) if screen.height else 1
    names = [_span(panel.row_names[start : start + rows], screen) for start in range(0, shape[0], rows)]
    margin = _margin(names, screen)
    room = screen.width - margin
    tile = Tile(rows, tile_to_fit(shape[1], room))
    width = 2 if 2 * shape[1] <= room else 1
    lines = [_ruler(panel.column_names[:: tile.columns], margin, width, screen)]
    for name, values in zip(names, fold_farthest(panel.values, tile), strict=True):
        line = _label(name, margin, screen)
        line.append_text(_places(values, panel, width, screen))
        lines.append(line)
    if tile.folds:
        words = f"each place is the value farthest from 0 of {tile} cells; -o file.png shows every cell"
    else:
        words = f"{shape[0]} × {shape[1]} numbers are too many to write at {screen.width} columns"
    lines += _legend(panel, "place", screen)
    return lines + [Text(line, style="dim") for line in screen.wrap(screen.words(words))]


def _span(names: tuple[str, ...], screen: Screen) -> str:
    """Return "layer 0-1" for the rows "layer 0" and "layer 1"."""
    last = names[-1].split()
    return screen.words(names[0] if len(names) == 1 or not last else f"{names[0]}-{last[-1]}")


def _ruler(names: tuple[str, ...], margin: int, width: int, screen: Screen) -> Text:
    """Return the line above the places with the last word of every few names."""
    step = 10 // width
    line = " " * margin
    for name in names[::step]:
        word = (screen.words(name).split() or [""])[-1]
        line += left(screen.fit(word, 9), 10)
    return Text(line.rstrip(), style="dim")


def _places(values: FloatArray, panel: Matrix, width: int, screen: Screen) -> Text:
    """Return one row of places, float32 [place], `width` columns each; blank where there is nothing."""
    line = Text()
    levels = signed_level(values, panel.top) if panel.centred else level(values, Scale.LINEAR, panel.top, 1e-4)
    colours = value_colours(values, panel.top, panel.centred)
    for place, colour in zip(levels.tolist(), colours, strict=True):
        if place != place:
            line.append(" " * width)
        elif not screen.shaded:
            line.append(" " * width, style=f"on {hexadecimal(colour)}")
        elif panel.centred and place != 0:
            shades = POSITIVE_SHADES if place > 0 else NEGATIVE_SHADES
            shade_of_place = shades[bisect_left(_THRESHOLDS, abs(place))]
            line.append(shade_of_place * width, style=POSITIVE_INK if place > 0 else NEGATIVE_INK)
        else:
            line.append(shade(place, screen) * width)
    return line


def _legend(panel: Matrix, what: str, screen: Screen) -> list[Text]:
    """Return the scale, what the numbers or places measure, and from where to where they go."""
    parts = []
    if what == "place" or not screen.shaded:
        low = -panel.top if panel.centred else 0.0
        sample = _places(np.linspace(low, panel.top, _SAMPLE, dtype=np.float32), panel, 1, screen)
        ends = [number_text(end, signed=panel.centred) for end in (low, panel.top)]
        parts.append(Text.assemble(f"{ends[0]} ", sample, f" {ends[1]}"))
    words = f"each {what} is {screen.words(panel.unit)}{stretch_words(panel.values, signed=panel.centred)}"
    parts += [Text(line, style="dim") for line in screen.wrap(words)]
    if np.isnan(panel.values).any():
        parts.append(Text("blank: none", style="dim"))
    return flowed(parts, screen.width)
