"""Lines over a shared x, as a block of a figure."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from maskviz.core.panels.charts import Curve, CurveLine
from maskviz.render.image.canvas import (
    INK,
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
from maskviz.render.numbers import number_text, runs, stretch, tick_text, ticks
from maskviz.render.palette import GRID, STROKES, Stroke

_WIDTH, _HEIGHT = 5.6, 2.8  # inches of the field
_INSET = 0.12  # inches between the field's edge and the outermost points
_TICKS = 6
_MOST_MARKERS = 40  # points of a line up to which each is marked
_SAMPLE = 0.34  # inches of a line in the legend
_LEVEL = Stroke(QUIET_INK, "", "", "", (1.0, 2.0))

Points = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Field:
    """Where numbers lie on the field of a plot, in inches from its top left corner.

    Attributes:
        x, y: First and last number along each axis.
        width: Inches from its left to its right edge.
    """

    x: tuple[float, float]
    y: tuple[float, float]
    width: float = _WIDTH

    def across(self, x: float) -> float:
        """Return the distance of a number on the x axis from the left edge."""
        return _INSET + (x - self.x[0]) / (self.x[1] - self.x[0]) * (self.width - 2 * _INSET)

    def down(self, y: float) -> float:
        """Return the distance of a number on the y axis from the top edge; NaN stays NaN."""
        inside = float(np.clip(y, *self.y))
        return _INSET + (self.y[1] - inside) / (self.y[1] - self.y[0]) * (_HEIGHT - 2 * _INSET)


def curve_block(panel: Curve, paper: Paper) -> Block:
    """Return the lines with a marker at each point over their bands, axes with round numbers, and a legend below."""
    plot = _plot_block(panel, paper)
    parts = [
        _legend_part(
            line.name + ("" if np.isfinite(line.values).any() else " (no points)"), _stroke(number, len(panel.x)), paper
        )
        for number, line in enumerate(panel.lines)
    ]
    if panel.level is not None:
        parts.append(_legend_part(f"{panel.level_name} {number_text(panel.level)}".strip(), _LEVEL, paper))
    legend = flowed(parts, plot.width, 0.2)
    return stacked([heading(panel.title, panel.caption, paper, plot.width), plot, legend], 0.08)


def field_of(panel: Curve) -> Field:
    """Return the field that holds all points, bands and the level."""
    drawn = [each for line in panel.lines for each in (line.values, line.low, line.high)]
    return Field(stretch(panel.x), stretch(panel.level, *drawn))


def _stroke(number: int, points: int = 0) -> Stroke:
    """The look of a line; where its points are many they have no markers."""
    stroke = STROKES[number % len(STROKES)]
    return replace(stroke, marker="") if points > _MOST_MARKERS else stroke


def _plot_block(panel: Curve, paper: Paper) -> Block:
    field = field_of(panel)
    margin = max((paper.typeface.width(tick_text(tick), LABEL_SIZE) for tick in ticks(*field.y, _TICKS)), default=0.0)
    margin += 0.08
    line = line_height(LABEL_SIZE)
    field = replace(field, width=min(_WIDTH, paper.width - margin - 0.1) if paper.exact else _WIDTH)
    names = [paper.typeface.fit(name, LABEL_SIZE, field.width) for name in (panel.x_name, panel.y_name)]

    def draw(canvas: Canvas, x: float, y: float) -> None:
        canvas.text(x, y, names[1], Ink())
        left, top = x + margin, y + line + 0.03
        _draw_axes(canvas, field, left, top)
        canvas.text(left + field.width / 2, top + _HEIGHT + line + 0.03, names[0], Ink(align="center"))
        if panel.level is not None:
            height = top + field.down(panel.level)
            canvas.stroke([(left, height), (left + field.width, height)], _LEVEL)
        places = [left + field.across(each) for each in panel.x.tolist()]
        # The first line matters most and is drawn last.
        for number, each in reversed([*enumerate(panel.lines)]):
            for outline in _band(each, places, field, top):
                canvas.area(outline, _stroke(number).ink)
        for number, each in reversed([*enumerate(panel.lines)]):
            points = [
                (place, top + field.down(value)) for place, value in zip(places, each.values.tolist(), strict=True)
            ]
            canvas.stroke(points, _stroke(number, len(points)))

    return Block(margin + field.width + 0.1, _HEIGHT + 3 * line + 0.06, draw)


def _draw_axes(canvas: Canvas, field: Field, left: float, top: float) -> None:
    bottom, right = top + _HEIGHT, left + field.width
    grid = []
    for tick in ticks(*field.y, _TICKS):
        height = top + field.down(tick)
        grid.append((left, height, right, height))
        canvas.text(left - 0.05, height, tick_text(tick), Ink(colour=QUIET_INK, align="right", anchor="center"))
    for tick in ticks(*field.x, _TICKS):
        place = left + field.across(tick)
        grid.append((place, top, place, bottom))
        canvas.text(place, bottom + 0.02, tick_text(tick), Ink(colour=QUIET_INK, align="center"))
    canvas.lines(grid, GRID, 0.6)
    canvas.lines([(left, top, left, bottom), (left, bottom, right, bottom)], INK, 0.8)


def _band(line: CurveLine, places: list[float], field: Field, top: float) -> list[Points]:
    """Return the outline of each stretch of the band, in inches."""
    if line.low is None or line.high is None:
        return []
    outlines = []
    for run in runs(np.isfinite(line.low) & np.isfinite(line.high)):
        lower, upper = (
            [(place, top + field.down(value)) for place, value in zip(places[run], end[run].tolist(), strict=True)]
            for end in (line.low, line.high)
        )
        outlines.append([*lower, *reversed(upper)])
    return outlines


def _legend_part(words: str, stroke: Stroke, paper: Paper) -> Block:
    """Return a piece of a line and its name."""
    words = paper.typeface.fit(words, LABEL_SIZE, paper.at_most(_WIDTH) - _SAMPLE - 0.06)
    height = line_height(LABEL_SIZE)

    def draw(canvas: Canvas, x: float, y: float) -> None:
        middle = y + height / 2
        # Its marker in the middle, as on the line.
        canvas.stroke([(x, middle), (x + _SAMPLE, middle)], Stroke(stroke.ink, "", "", "", stroke.dashes))
        canvas.stroke([(x + _SAMPLE / 2, middle)], stroke)
        canvas.text(x + _SAMPLE + 0.06, middle, words, Ink(anchor="center"))

    return Block(_SAMPLE + 0.06 + paper.typeface.width(words, LABEL_SIZE), height, draw)
