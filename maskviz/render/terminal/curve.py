"""Lines over a shared x in the terminal: braille dots between markers, with axes."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from maskviz.core.panels.charts import Curve, CurveLine
from maskviz.render.numbers import number_text, runs, stretch, tick_text, ticks
from maskviz.render.palette import STROKES, Stroke
from maskviz.render.terminal.screen import Screen, flowed, heading, right

_WIDEST = 100  # columns, axis included
_ROWS, _LEAST_ROWS = 16, 6
_AROUND = 8  # lines besides the rows: title, caption, names of the axes, ticks, legend, prompt
_ROWS_A_TICK, _COLUMNS_A_TICK = 3, 10
_DOTS_DOWN, _DOTS_ACROSS = 4, 2  # dots of a braille character
# The bit of each dot of a braille character, [row][column]: Unicode block "Braille Patterns", U+2800.
_BITS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_BRAILLE = 0x2800


@dataclass(slots=True)
class _Plot:
    """A field of characters; what is painted later lies on top.

    Attributes:
        rows, columns: Size in characters.
        x, y: First and last number along each axis, in the middle of the first and the last dot.
        cells: Character and style by (row, column).
    """

    rows: int
    columns: int
    x: tuple[float, float]
    y: tuple[float, float]
    cells: dict[tuple[int, int], tuple[str, str]] = field(default_factory=dict)

    def across(self, x: float) -> int:
        """Return the dot column of a number, 0 at the left."""
        return round((x - self.x[0]) / (self.x[1] - self.x[0]) * (self.columns * _DOTS_ACROSS - 1))

    def down(self, y: float) -> int:
        """Return the dot row of a number, 0 at the top."""
        share = min(1.0, max(0.0, (self.y[1] - y) / (self.y[1] - self.y[0])))
        return round(share * (self.rows * _DOTS_DOWN - 1))

    def cell(self, x: float, y: float) -> tuple[int, int]:
        """Return the (row, column) of the character that holds a point."""
        return self.down(y) // _DOTS_DOWN, self.across(x) // _DOTS_ACROSS


def curve_lines(panel: Curve, screen: Screen) -> list[Text]:
    """Return a plot: the bands as light dots, the level, the lines, and a marker for each point on top."""
    plot, margin = _plot_for(panel, screen)
    strokes = [STROKES[number % len(STROKES)] for number in range(len(panel.lines))]
    for line, stroke in reversed([*zip(panel.lines, strokes, strict=True)]):
        _paint_band(plot, panel.x.tolist(), line, stroke, screen)
    if panel.level is not None:
        row = plot.down(panel.level) // _DOTS_DOWN
        plot.cells |= {(row, column): (_level_sign(screen), "dim") for column in range(plot.columns)}
    # The first line matters most and is painted last.
    for line, stroke in reversed([*zip(panel.lines, strokes, strict=True)]):
        _paint_path(plot, panel.x.tolist(), line, stroke, screen)
    for line, stroke in reversed([*zip(panel.lines, strokes, strict=True)]):
        _paint_markers(plot, panel.x.tolist(), line, stroke, screen)
    lines = heading(screen, panel.title, panel.caption)
    lines.append(Text(screen.fit(screen.words(panel.y_name), screen.width), style="dim"))
    lines += _with_axes(plot, margin, screen)
    name = screen.fit(screen.words(panel.x_name), screen.width)
    lines.append(Text(right(name, max(cell_len(name), margin + 1 + plot.columns)), style="dim"))
    return lines + _legend(panel, strokes, screen)


def _plot_for(panel: Curve, screen: Screen) -> tuple[_Plot, int]:
    """Return an empty plot over all that is drawn, and the columns of the labels left of it."""
    y = stretch(panel.level, *[each for line in panel.lines for each in (line.values, line.low, line.high)])
    rows = _ROWS if screen.height is None else min(_ROWS, max(_LEAST_ROWS, screen.height - _AROUND))
    margin = max((len(tick_text(tick)) for tick in ticks(*y, rows // _ROWS_A_TICK)), default=0)
    columns = max(4, min(_WIDEST, screen.width) - margin - 2)
    return _Plot(rows, columns, stretch(panel.x), y), margin


def _paint_band(plot: _Plot, x: list[float], line: CurveLine, stroke: Stroke, screen: Screen) -> None:
    if line.low is None or line.high is None:
        return
    for run in runs(np.isfinite(line.low) & np.isfinite(line.high)):
        places = [plot.across(each) / _DOTS_ACROSS for each in x[run]]
        for column in range(int(places[0]), int(places[-1]) + 1):
            low, high = (float(np.interp(column, places, end[run])) for end in (line.low, line.high))
            for row in range(plot.down(high) // _DOTS_DOWN, plot.down(low) // _DOTS_DOWN + 1):
                plot.cells[row, column] = _band_sign(screen), f"dim {stroke.ink}"


def _paint_path(plot: _Plot, x: list[float], line: CurveLine, stroke: Stroke, screen: Screen) -> None:
    """Paint straight lines between neighbouring points, in braille or in dots."""
    bits: dict[tuple[int, int], int] = {}
    for run in runs(np.isfinite(line.values)):
        points = [(plot.across(a), plot.down(b)) for a, b in zip(x[run], line.values[run].tolist(), strict=True)]
        for start, end in pairwise(points):
            steps = max(abs(end[0] - start[0]), abs(end[1] - start[1])) + 1
            acrosses = np.rint(np.linspace(start[0], end[0], steps)).astype(int).tolist()
            downs = np.rint(np.linspace(start[1], end[1], steps)).astype(int).tolist()
            for across, down in zip(acrosses, downs, strict=True):
                place = down // _DOTS_DOWN, across // _DOTS_ACROSS
                bits[place] = bits.get(place, 0) | _BITS[down % _DOTS_DOWN][across % _DOTS_ACROSS]
    for place, bit in bits.items():
        plot.cells[place] = ":" if screen.ascii_only else chr(_BRAILLE + bit), stroke.ink


def _paint_markers(plot: _Plot, x: list[float], line: CurveLine, stroke: Stroke, screen: Screen) -> None:
    """Paint a marker at each point, at every few where they would touch; a point without neighbours always has one."""
    for run in runs(np.isfinite(line.values)):
        taken = -2
        for a, b in zip(x[run], line.values[run].tolist(), strict=True):
            row, column = plot.cell(a, b)
            if column - taken >= 2:
                plot.cells[row, column] = _marker(stroke, screen), f"bold {stroke.ink}"
                taken = column


def _with_axes(plot: _Plot, margin: int, screen: Screen) -> list[Text]:
    """Return the plot with an axis at the left and one below, labelled at round numbers."""
    upright, mark, corner, flat, notch = "||+-+" if screen.ascii_only else "│┤└─┬"
    labels = {plot.down(tick) // _DOTS_DOWN: tick_text(tick) for tick in ticks(*plot.y, plot.rows // _ROWS_A_TICK)}
    lines = []
    for row in range(plot.rows):
        line = Text(f"{labels.get(row, ''):>{margin}} {mark if row in labels else upright}", style="dim")
        line = Text.assemble(line)
        for column in range(plot.columns):
            line.append(*plot.cells.get((row, column), (" ", "")))
        lines.append(line)
    axis, names = [flat] * plot.columns, ""
    for tick in ticks(*plot.x, max(1, plot.columns // _COLUMNS_A_TICK)):
        place, text = plot.across(tick) // _DOTS_ACROSS, tick_text(tick)
        axis[place] = notch
        start = min(max(0, place - len(text) // 2), plot.columns - len(text))
        if start > len(names) or not names:
            names = names.ljust(start) + text
    front = " " * (margin + 1)
    return [*lines, Text(front + corner + "".join(axis), style="dim"), Text(f"{front} {names}", style="dim")]


def _legend(panel: Curve, strokes: list[Stroke], screen: Screen) -> list[Text]:
    parts = []
    for line, stroke in zip(panel.lines, strokes, strict=True):
        words = screen.words(line.name) + ("" if np.isfinite(line.values).any() else " (no points)")
        parts.append(Text.assemble((_marker(stroke, screen), f"bold {stroke.ink}"), " ", words))
    if any(line.low is not None for line in panel.lines):
        parts.append(Text.assemble((_band_sign(screen), "dim"), " band of its colour"))
    if panel.level is not None:
        words = f"{screen.words(panel.level_name)} {number_text(panel.level)}".strip()
        parts.append(Text.assemble((_level_sign(screen), "dim"), f" {words}"))
    return flowed(parts, screen.width)


def _marker(stroke: Stroke, screen: Screen) -> str:
    return stroke.ascii_character if screen.ascii_only else stroke.character


def _band_sign(screen: Screen) -> str:
    return "." if screen.ascii_only else "·"


def _level_sign(screen: Screen) -> str:
    return "-" if screen.ascii_only else "┄"
