"""A plain map of numbers, such as one number per head, as a block of a figure."""

from __future__ import annotations

import numpy as np

from maskviz.core.panels.page import Matrix
from maskviz.core.words import Scale
from maskviz.render.fold import strides
from maskviz.render.image.canvas import (
    LABEL_SIZE,
    QUIET_INK,
    Block,
    Canvas,
    Ink,
    Paper,
    flowed,
    heading,
    line_height,
    stacked,
)
from maskviz.render.image.legend import centred_bar, patch, scale_bar
from maskviz.render.numbers import cell_text, stretch_words
from maskviz.render.palette import lightness, value_colours

_CELL = 0.3  # inches a side, more where the numbers ask for it
_NUMBER_SIZE = 6.0  # points
_NUMBER_LENGTH = 6  # characters
_MOST_NUMBERS = 700  # cells up to which each has its number written in it
_LARGEST = 10.0  # inches of cells along the longer side of a map without numbers
_SMALLEST = 0.04
_LABEL_GAP = 0.06
_LEAST_ROOM = 5.0  # inches the words and the scale may take beside a narrow map
_LIGHT = 120.0  # lightness above which text is black


def matrix_block(panel: Matrix, paper: Paper) -> Block:
    """Return the numbers as coloured cells, each with its value written in it where there are not too many."""
    cells = _cells_block(panel, paper)
    room = paper.room(cells.width, _LEAST_ROOM)
    unit = panel.unit + stretch_words(panel.values, signed=panel.centred)
    bar = centred_bar(panel.top, unit, paper) if panel.centred else scale_bar(Scale.LINEAR, 0.0, panel.top, unit, paper)
    parts = [bar, patch("#ffffff", "none", paper, QUIET_INK)] if np.isnan(panel.values).any() else [bar]
    return stacked([heading(panel.title, panel.caption, paper, room), cells, flowed(parts, room, 0.2)], 0.08)


def _cells_block(panel: Matrix, paper: Paper) -> Block:
    texts, pixels = _texts_and_pixels(panel, paper)
    cell = pixels / paper.dpi
    rows = _row_names(panel, paper)
    colours = value_colours(panel.values, panel.top, panel.centred)
    colours[np.isnan(panel.values)] = 255
    columns, kind = column_names(panel.column_names, max(cell, _CELL), paper)
    margin = max((paper.typeface.width(name, LABEL_SIZE) for name in [*rows, kind]), default=0.0) + 0.07
    top = line_height(LABEL_SIZE) + 0.02
    room = max((paper.typeface.width(name, LABEL_SIZE) for name in columns), default=0.0)
    down = next(step for step in strides() if step * cell >= line_height(LABEL_SIZE))
    across = next(step for step in strides() if step * cell >= min(room + _LABEL_GAP, _CELL))

    def draw(canvas: Canvas, x: float, y: float) -> None:
        left, start = x + margin, y + top
        if colours.size:
            canvas.picture(left, start, colours, pixels)
        for number, name in [*enumerate(rows)][::down]:
            canvas.text(left - 0.05, start + (number + 0.5) * cell, name, Ink(align="right", anchor="center"))
        canvas.text(left - 0.05, y, kind, Ink(colour=QUIET_INK, align="right"))
        for number, name in [*enumerate(columns)][::across]:
            canvas.text(left + (number + 0.5) * cell, y, name, Ink(align="center"))
        for row, line in enumerate(texts):
            for column, text in enumerate(line):
                dark = lightness(colours[row, column]) > _LIGHT
                ink = Ink(_NUMBER_SIZE, "#000000" if dark else "#ffffff", align="center", anchor="center")
                canvas.text(left + (column + 0.5) * cell, start + (row + 0.5) * cell, text, ink)

    return Block(margin + len(columns) * cell, top + len(rows) * cell, draw)


def _texts_and_pixels(panel: Matrix, paper: Paper) -> tuple[list[list[str]], int]:
    """Return the numbers row by row, none where there is no room for them, and the device pixels of a cell's side."""
    texts = _texts(panel)
    widest = max((paper.typeface.width(text, _NUMBER_SIZE) for row in texts for text in row), default=0.0)
    with_numbers = max(_CELL, widest + 0.04)
    without = min(_CELL, max(_SMALLEST, _LARGEST / max(1, *panel.values.shape)))
    if not paper.exact:
        return texts, max(1, round((with_numbers if texts else without) * paper.dpi))
    kinds = [name.rpartition(" ")[0] for name in panel.column_names]
    margin = max((paper.typeface.width(name, LABEL_SIZE) for name in [*_row_names(panel, paper), *kinds]), default=0.0)
    most = (paper.width - margin - 0.07) / max(1, len(panel.column_names))
    if texts and widest + 0.04 <= most:
        return texts, max(1, int(min(with_numbers, most) * paper.dpi))
    return [], max(1, int(min(_CELL, most) * paper.dpi))


def _row_names(panel: Matrix, paper: Paper) -> list[str]:
    return [paper.typeface.fit(name, LABEL_SIZE, 1.2) for name in panel.row_names]


def _texts(panel: Matrix) -> list[list[str]]:
    """Return the numbers row by row, nothing at all where they are too many."""
    if panel.values.size > _MOST_NUMBERS:
        return []
    return [
        [cell_text(value, signed=panel.centred, most=_NUMBER_LENGTH) for value in row] for row in panel.values.tolist()
    ]


def column_names(names: tuple[str, ...], room: float, paper: Paper) -> tuple[list[str], str]:
    """Return the names as they are where all fit into `room` inches, else "3" for "head 3", and "head" to say once."""
    shown = [paper.typeface.shown(name) for name in names]
    if all(paper.typeface.width(name, LABEL_SIZE) <= room - 0.1 for name in shown):
        return shown, ""
    parts = [name.rpartition(" ") for name in shown]
    kinds = {kind for kind, _, _ in parts}
    kind = kinds.pop() if len(kinds) == 1 else ""
    return [paper.typeface.fit(last, LABEL_SIZE, room) for _, _, last in parts], kind
