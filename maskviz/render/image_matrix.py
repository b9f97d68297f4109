"""A plain map of numbers, such as one number per head, as a block of a figure."""

from __future__ import annotations

import math

import numpy as np

from maskviz.core.panels import Matrix
from maskviz.core.words import Scale
from maskviz.render.image_canvas import LABEL_SIZE, QUIET_INK, Block, Canvas, Ink, Paper, heading, line_height, stacked
from maskviz.render.image_legend import scale_bar
from maskviz.render.palette import level, sequential

_CELL = 0.3  # inches a side
_MOST_NUMBERS = 700  # cells up to which each has its number written in it
_LIGHT = 120.0  # lightness above which text is black


def matrix_block(panel: Matrix, paper: Paper) -> Block:
    """Return the numbers as coloured cells, each with its value written in it where there are not too many."""
    cells = _cells_block(panel, paper)
    room = max(cells.width, 3.2)
    bar = scale_bar(Scale.LINEAR, 0.0, panel.top, panel.unit, paper)
    return stacked([heading(panel.title, panel.caption, paper, room), cells, bar], 0.08)


def _cells_block(panel: Matrix, paper: Paper) -> Block:
    pixels = max(1, round(_CELL * paper.dpi))
    cell = pixels / paper.dpi
    levels = level(panel.values, Scale.LINEAR, panel.top, 1e-4)
    colours = sequential(levels)
    colours[np.isnan(levels)] = 255
    rows = [paper.typeface.fit(name, LABEL_SIZE, 1.2) for name in panel.row_names]
    columns, kind = column_names(panel.column_names, cell, paper)
    margin = max((paper.typeface.width(name, LABEL_SIZE) for name in [*rows, kind]), default=0.0) + 0.07
    top = line_height(LABEL_SIZE) + 0.02

    def draw(canvas: Canvas, x: float, y: float) -> None:
        left, start = x + margin, y + top
        if colours.size:
            canvas.picture(left, start, colours, pixels)
        for number, name in enumerate(rows):
            canvas.text(left - 0.05, start + (number + 0.5) * cell, name, Ink(align="right", anchor="center"))
        canvas.text(left - 0.05, y, kind, Ink(colour=QUIET_INK, align="right"))
        for number, name in enumerate(columns):
            canvas.text(left + (number + 0.5) * cell, y, name, Ink(align="center"))
        if panel.values.size > _MOST_NUMBERS:
            return
        for (row, column), value in np.ndenumerate(panel.values):
            lightness = float(colours[row, column].astype(np.float64) @ np.array([0.30, 0.59, 0.11]))
            ink = Ink(6.0, "#000000" if lightness > _LIGHT else "#ffffff", align="center", anchor="center")
            canvas.text(left + (column + 0.5) * cell, start + (row + 0.5) * cell, number_text(float(value)), ink)

    return Block(margin + len(columns) * cell, top + len(rows) * cell, draw)


def column_names(names: tuple[str, ...], room: float, paper: Paper) -> tuple[list[str], str]:
    """Return the names as they are where all fit into `room` inches, else "3" for "head 3", and "head" to say once."""
    shown = [paper.typeface.shown(name) for name in names]
    if all(paper.typeface.width(name, LABEL_SIZE) <= room - 0.1 for name in shown):
        return shown, ""
    parts = [name.rpartition(" ") for name in shown]
    kinds = {kind for kind, _, _ in parts}
    kind = kinds.pop() if len(kinds) == 1 else ""
    return [paper.typeface.fit(last, LABEL_SIZE, room) for _, _, last in parts], kind


def number_text(value: float) -> str:
    """Return a number in at most five characters, nothing for NaN."""
    if math.isnan(value):
        return ""
    text = f"{value:.2f}" if abs(value) < 10 else f"{value:.0f}"
    if len(text) > 5:
        text = f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    return text.replace("0.", ".", 1) if abs(value) < 1 else text
