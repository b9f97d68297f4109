"""A map as lines between two columns of tokens, as a block of a figure."""

from __future__ import annotations

import numpy as np

from maskviz.core.arrays import DoubleArray, IntArray
from maskviz.core.panels.page import Heatmap, Token, TokenLines
from maskviz.core.words import Scale
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
from maskviz.render.image.grid import axis_labels
from maskviz.render.numbers import number_text
from maskviz.render.palette import LINE_INK, level

_PITCH, _LEAST_PITCH = 0.17, 0.03  # inches from token to token
_TALLEST = 9.0  # inches, where the tokens leave a choice
_SPAN, _LEAST_SPAN = 2.6, 0.8  # inches the lines take from side to side
_GAP = 0.06  # inches between a token and its lines
_MOST_LINES = 6000


def lines_block(panel: TokenLines, paper: Paper) -> Block:
    """Return the tokens in two columns, with a line for each weight: darker and thicker for a larger one."""
    shown = panel.map
    longest = max(len(shown.queries), len(shown.keys), 1)
    pitch = max(_LEAST_PITCH, min(_PITCH, _TALLEST / longest))
    (queries, left_room), (keys, right_room) = (
        axis_labels(tokens, 1, pitch, paper) for tokens in (shown.queries, shown.keys)
    )
    left_room = max(left_room, paper.typeface.width("query", LABEL_SIZE))
    right_room = max(right_room, paper.typeface.width("key", LABEL_SIZE))
    span = max(
        _LEAST_SPAN, paper.at_most(left_room + right_room + 2 * _GAP + _SPAN) - left_room - right_room - 2 * _GAP
    )
    pairs, levels, least = strongest(panel)
    top = line_height(LABEL_SIZE) + 0.04

    def draw(canvas: Canvas, x: float, y: float) -> None:
        left, right, start = x + left_room + _GAP, x + left_room + _GAP + span, y + top
        canvas.text(left - _GAP, y, "query", Ink(colour=QUIET_INK, align="right"))
        canvas.text(right + _GAP, y, "key", Ink(colour=QUIET_INK))
        heights = [start + (place + 0.5) * pitch for place in range(longest)]
        ends = [(left, heights[query], right, heights[key]) for query, key in pairs.tolist()]
        canvas.strands(ends, levels, LINE_INK)
        for at, text, colour in queries:
            ink = Ink(colour=QUIET_INK if shown.meaningless[int(at)] else colour, align="right", anchor="center")
            canvas.text(left - _GAP, heights[int(at)], text, ink)
        for at, text, colour in keys:
            ink = Ink(colour=_ink_of(shown.keys[int(at)], colour), anchor="center")
            canvas.text(right + _GAP, heights[int(at)], text, ink)

    columns = Block(left_room + span + right_room + 2 * _GAP, top + longest * pitch, draw)
    room = paper.room(columns.width, 3.2)
    words = heading("", _meaning(shown, least), paper, room)
    return stacked([heading(shown.title, shown.caption, paper, room), columns, words], 0.07)


def strongest(panel: TokenLines) -> tuple[IntArray, DoubleArray, float]:
    """The cells that have a line, the strongest last: int64 [line, 2] of queries and keys, float64 [line] levels in [0,
    1], and the least weight that has one."""
    shown = panel.map
    least = TokenLines.LEAST * shown.top
    drawn = ~shown.blocked & ~shown.meaningless[:, None] & (shown.values >= least)
    pairs: IntArray = np.argwhere(drawn)
    values = shown.values[drawn]
    order = np.argsort(values, kind="stable")[-_MOST_LINES:]
    if len(order) < len(values):
        least = float(values[order[0]])
    levels = level(values[order], shown.scale, shown.top, shown.floor)
    return pairs[order], np.clip(np.asarray(levels, np.float64), 0.0, 1.0), least


def _ink_of(token: Token, colour: str) -> str:
    return QUIET_INK if token.role == "padding" and colour == INK else colour


def _meaning(shown: Heatmap, least: float) -> str:
    scale = ", logarithmic" if shown.scale is Scale.LOG else ""
    padding = "; grey tokens: padding" if shown.meaningless.any() else ""
    ends = f"{number_text(least)} (faint, thin) to {number_text(shown.top)} (dark, thick)"
    return f"line: {shown.unit} from {ends}{scale}; no line: blocked, or less{padding}"
