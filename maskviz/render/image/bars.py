"""A list of named numbers as horizontal bars, as a block of a figure."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

from maskviz.core.panels.charts import Bars
from maskviz.render.image.canvas import (
    INK,
    LABEL_SIZE,
    QUIET_INK,
    Block,
    Canvas,
    Ink,
    Paper,
    heading,
    line_height,
    stacked,
)
from maskviz.render.numbers import number_text, stretch, tick_text, ticks
from maskviz.render.palette import GRID, NEGATIVE_INK, POSITIVE_INK

_PITCH = 0.17  # inches from bar to bar
_THICK = 0.11
_LENGTH = 3.9  # inches from the smallest number to the largest
_CAP = 0.025  # half the height of the mark at the end of an interval
_NAME_ROOM = 2.0  # inches, at most a third of a paper's column
_TICKS = 6


def bars_block(panel: Bars, paper: Paper) -> Block:
    """Return a bar for each name on its side of zero, with its number before it and its interval across it."""
    bars = _plot_block(panel, paper)
    return stacked([heading(panel.title, panel.caption, paper, paper.room(bars.width, 3.2)), bars], 0.08)


def _plot_block(panel: Bars, paper: Paper) -> Block:
    signed = bool((panel.values < 0).any())
    names = [paper.typeface.fit(name, LABEL_SIZE, paper.at_most(3 * _NAME_ROOM) / 3) for name in panel.names]
    numbers = [number_text(value, signed=signed) or "none" for value in panel.values.tolist()]
    name_room = max((paper.typeface.width(name, LABEL_SIZE) for name in names), default=0.0)
    front = name_room + max((paper.typeface.width(text, LABEL_SIZE) for text in numbers), default=0.0) + 0.2
    low, high = stretch(panel.values, panel.low, panel.high, 0.0)
    overhang = paper.typeface.width(tick_text(high), LABEL_SIZE) / 2
    length = min(_LENGTH, paper.width - front - overhang) if paper.exact else _LENGTH
    unit = paper.typeface.fit(panel.unit, LABEL_SIZE, front + length)
    middle_of_unit = front + length / 2
    if paper.exact:
        middle_of_unit = min(middle_of_unit, front + length - paper.typeface.width(unit, LABEL_SIZE) / 2)
    height = len(names) * _PITCH

    def place(value: float) -> float:
        return front + (min(high, max(low, value)) - low) / (high - low) * length

    def draw(canvas: Canvas, x: float, y: float) -> None:
        for tick in ticks(low, high, _TICKS):
            canvas.lines([(x + place(tick), y, x + place(tick), y + height)], GRID, 0.6)
            canvas.text(x + place(tick), y + height + 0.02, tick_text(tick), Ink(colour=QUIET_INK, align="center"))
        for number, value in enumerate(panel.values.tolist()):
            middle = y + (number + 0.5) * _PITCH
            canvas.text(x, middle, names[number], Ink(anchor="center"))
            canvas.text(x + front - 0.1, middle, numbers[number], Ink(colour=QUIET_INK, align="right", anchor="center"))
            if not math.isnan(value):
                start, end = sorted((place(0.0), place(value)))
                colour = NEGATIVE_INK if value < 0 else POSITIVE_INK
                canvas.box(x + start, middle - _THICK / 2, end - start, _THICK, colour)
        canvas.lines([(x + place(0.0), y, x + place(0.0), y + height)], INK, 0.8)
        whiskers = [(x + a, y + b, x + c, y + d) for a, b, c, d in _whiskers(panel, place)]
        if whiskers:
            canvas.lines(whiskers, INK, 0.8)
        canvas.text(x + middle_of_unit, y + height + line_height(LABEL_SIZE) + 0.02, unit, Ink(align="center"))

    return Block(front + length + overhang, height + 2 * line_height(LABEL_SIZE) + 0.02, draw)


def _whiskers(panel: Bars, place: Callable[[float], float]) -> Iterator[tuple[float, float, float, float]]:
    """Yield the lines of each bar's interval: across it and a mark at both ends."""
    if panel.low is None or panel.high is None:
        return
    for number, ends in enumerate(zip(panel.low.tolist(), panel.high.tolist(), strict=True)):
        if any(map(math.isnan, ends)):
            continue
        middle = (number + 0.5) * _PITCH
        start, end = place(ends[0]), place(ends[1])
        yield start, middle, end, middle
        yield start, middle - _CAP, start, middle + _CAP
        yield end, middle - _CAP, end, middle + _CAP
