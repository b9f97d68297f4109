"""Legends of figures: patches with words, and the scale of a map."""

from __future__ import annotations

import numpy as np

from maskviz.core.arrays import ByteArray
from maskviz.core.panels.page import LegendEntry
from maskviz.core.words import Scale
from maskviz.render.image.canvas import (
    LABEL_SIZE,
    QUIET_INK,
    Block,
    Canvas,
    Ink,
    Paper,
    flowed,
    line_height,
    stacked,
    text_block,
)
from maskviz.render.numbers import number_text, share_text
from maskviz.render.palette import (
    BLOCKED,
    MEANINGLESS,
    NOT_A_NUMBER,
    SOME,
    VISIBLE,
    diverging,
    sequential,
    swatch_of,
)

_PATCH = 0.1  # inches, a side
_BAR = (1.5, 0.1)  # inches
_STEPS = 75


def mask_legend(entries: tuple[LegendEntry, ...], folded: bool, meaningless: bool, paper: Paper, room: float) -> Block:
    """Return patches for visible and for each reason with its share, in rows of at most `room` inches."""
    patches = [patch(VISIBLE.fill, "visible", paper)]
    if folded:
        patches.append(patch(SOME.fill, "some visible", paper))
    for entry in entries:
        patches.append(patch(swatch_of(entry.code).fill, f"{entry.word} {share_text(entry.share)}", paper))
    if meaningless:
        patches.append(patch(MEANINGLESS.fill, "grey rows: query is padding", paper))
    return flowed(patches, room, 0.15)


def patch(fill: str, words: str, paper: Paper, edge: str = "none") -> Block:
    """Return a small square of colour and what it means."""
    words = paper.typeface.shown(words)
    height = line_height(LABEL_SIZE)

    def draw(canvas: Canvas, x: float, y: float) -> None:
        canvas.box(x, y + (height - _PATCH) / 2, _PATCH, _PATCH, fill, edge)
        canvas.text(x + _PATCH + 0.05, y + height / 2, words, Ink(anchor="center"))

    return Block(_PATCH + 0.05 + paper.typeface.width(words, LABEL_SIZE), height, draw)


def scale_bar(scale: Scale, floor: float, top: float, unit: str, paper: Paper) -> Block:
    """Return a bar of colours with the values at its ends and middle."""
    unit = f"{unit}, log scale" if scale is Scale.LOG else unit
    middle = float(np.sqrt(floor * top)) if scale is Scale.LOG else top / 2
    lower = f"≤{floor:.2g}" if scale is Scale.LOG else "0"
    marks = (lower, number_text(middle), f"{top:.3g}" if top < 1000 else f"{top:,.0f}")
    return _bar(sequential(np.linspace(0.0, 1.0, _STEPS)), marks, unit, paper)


def centred_bar(top: float, unit: str, paper: Paper) -> Block:
    """Return a bar of colours from `-top` over zero to `top`."""
    marks = (number_text(-top), "0", number_text(top, signed=True))
    return _bar(diverging(np.linspace(-1.0, 1.0, _STEPS)), marks, unit, paper)


def _bar(colours: ByteArray, marks: tuple[str, str, str], unit: str, paper: Paper) -> Block:
    """Return uint8 [step, 3] as a bar, with words below its start, middle and end, and its unit beside it, or below
    where the paper has no room beside it."""
    unit = paper.typeface.shown(unit)
    pixel = max(1, round(_BAR[0] * paper.dpi / _STEPS))
    rows = max(1, round(_BAR[1] * paper.dpi / pixel))
    length = pixel * _STEPS / paper.dpi
    overhang = paper.typeface.width(marks[0], LABEL_SIZE) / 2
    middle_line = line_height(LABEL_SIZE) / 2  # the same as of the patches beside it
    below = middle_line + _BAR[1] / 2 + 0.02

    def draw(canvas: Canvas, x: float, y: float) -> None:
        canvas.picture(x + overhang, y + middle_line - _BAR[1] / 2, np.repeat(colours[None], rows, axis=0), pixel)
        for place, words in zip((0.0, 0.5, 1.0), marks, strict=True):
            canvas.text(x + overhang + place * length, y + below, words, Ink(align="center", colour=QUIET_INK))
        if beside:
            canvas.text(x + overhang + length + 0.08, y + middle_line, unit, Ink(anchor="center"))

    width = overhang + length + 0.08 + max(0.3, paper.typeface.width(unit, LABEL_SIZE))
    beside = not paper.exact or width <= paper.width
    bar = Block(width if beside else overhang + length + 0.3, below + line_height(LABEL_SIZE), draw)
    if beside:
        return bar
    lines = paper.typeface.wrap(unit, LABEL_SIZE, paper.width)
    return stacked([bar, text_block([(line, Ink()) for line in lines], paper)], 0.0)


def heat_legend(
    bar: Block, *, blocked: bool, meaningless: bool, not_a_number: bool, paper: Paper, room: float
) -> Block:
    """Return a scale bar with patches for what is no value: blocked cells, padding rows, NaN."""
    parts = [bar]
    if blocked:
        parts.append(patch(BLOCKED.fill, "blocked", paper))
    if meaningless:
        parts.append(patch(MEANINGLESS.fill, "grey rows: query is padding", paper))
    if not_a_number:
        parts.append(patch(NOT_A_NUMBER.fill, "not a number", paper))
    return flowed(parts, room, 0.2)
