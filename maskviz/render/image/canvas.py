"""A figure addressed in inches from its top left corner, and blocks that know their size before they are drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle
from matplotlib.text import Text

from maskviz.core.arrays import ByteArray, DoubleArray
from maskviz.render.fonts import Typeface
from maskviz.render.palette import Stroke

INK = "#1a1a1a"
QUIET_INK = "#5f5f5f"
LABEL_SIZE = 7.0  # points
TITLE_SIZE = 9.5
_ORDER = 2  # matplotlib's place of lines: boxes and lines lie over one another as they were drawn
LINE = 1.35  # height of a line as a multiple of its text size
# How far below the named part of a line its baseline is, as a multiple of the text size.
_BASELINES = {"top": 1.02, "center": 0.36, "bottom": -0.24}


def line_height(size: float) -> float:
    """Return the height in inches of one line of text of `size` points."""
    return size * LINE / 72


@dataclass(frozen=True, slots=True)
class Ink:
    """How a piece of text is set.

    Attributes:
        size: Points.
        colour: "#rrggbb".
        bold: Whether it is bold.
        align: Which part of the text is at the given x; of an upright text, which part of it is at the given y.
        anchor: Which part of the line is at the given y; an upright text is always centred on the given x.
        upright: Turned by 90 degrees, to be read from below.
    """

    size: float = LABEL_SIZE
    colour: str = INK
    bold: bool = False
    align: Literal["left", "center", "right"] = "left"
    anchor: Literal["top", "center", "bottom"] = "top"
    upright: bool = False


class Canvas:
    """Draws on a figure. All positions are inches from the top left corner; nothing here decides a layout."""

    def __init__(self, figure: Figure, typeface: Typeface) -> None:
        self.figure = figure
        self.typeface = typeface
        self.width, self.height = map(float, figure.get_size_inches())

    def text(self, x: float, y: float, text: str, ink: Ink) -> None:
        """Set one line of text; nothing in it is read as a formula.

        Lines are placed by their baseline, not by the box around their letters, so that "a" and "jumps" line up.
        """
        if not text:
            return
        drop = _BASELINES["center" if ink.upright else ink.anchor] * ink.size / 72
        x, y = (x + drop, y) if ink.upright else (x, y + drop)
        artist = Text(
            x / self.width,
            1 - y / self.height,
            text,
            color=ink.colour,
            fontproperties=self.typeface.properties(ink.size, ink.bold),
            horizontalalignment=ink.align,
            verticalalignment="baseline",
            rotation=90 if ink.upright else 0,
            rotation_mode="anchor",
            parse_math=False,
            transform=self.figure.transFigure,
        )
        self.figure.add_artist(artist)

    def box(self, x: float, y: float, width: float, height: float, fill: str, edge: str = "none") -> None:
        """Draw a rectangle whose top left corner is at x, y."""
        corner = (x / self.width, 1 - (y + height) / self.height)
        size = (width / self.width, height / self.height)
        patch = Rectangle(corner, *size, facecolor=fill, edgecolor=edge, linewidth=0.6, zorder=_ORDER)
        patch.set_transform(self.figure.transFigure)
        self.figure.add_artist(patch)

    def lines(self, segments: list[tuple[float, float, float, float]], colour: str, thickness: float) -> None:
        """Draw straight lines, each from x, y to x, y, as one artist; `thickness` is in points."""
        placed = [
            [(x0 / self.width, 1 - y0 / self.height), (x1 / self.width, 1 - y1 / self.height)]
            for x0, y0, x1, y1 in segments
        ]
        self.figure.add_artist(
            LineCollection(placed, colors=colour, linewidths=thickness, transform=self.figure.transFigure)
        )

    def strands(self, ends: list[tuple[float, float, float, float]], levels: DoubleArray, colour: str) -> None:
        """Draw bent lines, each from x, y to x, y: faint and thin for a level of 0, full for 1; as one artist."""
        way = np.linspace(0.0, 1.0, 17)
        bend = way * way * (3 - 2 * way)
        placed = [
            np.column_stack([(x0 + (x1 - x0) * way) / self.width, 1 - (y0 + (y1 - y0) * bend) / self.height])
            for x0, y0, x1, y1 in ends
        ]
        colours = [to_rgba(colour, 0.08 + 0.92 * level) for level in levels]
        self.figure.add_artist(
            LineCollection(placed, colors=colours, linewidths=0.4 + 1.8 * levels, transform=self.figure.transFigure)
        )

    def stroke(self, points: list[tuple[float, float]], stroke: Stroke) -> None:
        """Draw a line through points with a marker at each; it is broken where a coordinate is NaN."""
        artist = Line2D(
            [x / self.width for x, _ in points],
            [1 - y / self.height for _, y in points],
            color=stroke.ink,
            linewidth=1.4,
            linestyle=(0, stroke.dashes) if stroke.dashes else "solid",
            marker=stroke.marker,
            markersize=4.6,
            markeredgecolor="white",
            markeredgewidth=0.4,
            transform=self.figure.transFigure,
        )
        self.figure.add_artist(artist)

    def area(self, outline: list[tuple[float, float]], colour: str) -> None:
        """Fill an outline with a pale colour that lets others shine through; one without width is a line."""
        placed = [(x / self.width, 1 - y / self.height) for x, y in outline]
        patch = Polygon(placed, facecolor=colour, edgecolor=colour, linewidth=0.8, alpha=0.16)
        patch.set_transform(self.figure.transFigure)
        self.figure.add_artist(patch)

    def picture(self, x: float, y: float, pixels: ByteArray, scale: int) -> None:
        """Draw uint8 [row, column, 3 or 4], each `scale` by `scale` device pixels, top left corner at x, y."""
        dpi = self.figure.dpi
        # On whole device pixels every cell comes out equally large.
        x, y = round(x * dpi) / dpi, round(y * dpi) / dpi
        width, height = pixels.shape[1] * scale / dpi, pixels.shape[0] * scale / dpi
        place = (x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height)
        axes = self.figure.add_axes(place, frameon=False, xticks=[], yticks=[])
        axes.imshow(pixels, interpolation="nearest", aspect="auto")


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of a page.

    Attributes:
        width, height: Inches it takes, all its text included.
        draw: Draws it with its top left corner at x, y.
    """

    width: float
    height: float
    draw: Callable[[Canvas, float, float], None]


@dataclass(frozen=True, slots=True)
class Paper:
    """What blocks need to know before there is a figure.

    Attributes:
        typeface: Fonts of the page.
        dpi: Device pixels per inch.
        width: Inches text is wrapped to.
        crowded: Whether several grids share the page and should be smaller.
        exact: Whether nothing may be wider than `width`, as in the column of a paper.
    """

    typeface: Typeface
    dpi: int
    width: float
    crowded: bool = False
    exact: bool = False

    def room(self, width: float, least: float) -> float:
        """Return the inches words may take beside something `width` inches wide."""
        return self.width if self.exact else max(width, least)

    def at_most(self, width: float) -> float:
        """Return `width`, or less where the paper has less."""
        return min(width, self.width) if self.exact else width


def text_block(lines: list[tuple[str, Ink]], paper: Paper) -> Block:
    """Return lines of text below one another."""
    width = max((paper.typeface.width(text, ink.size, ink.bold) for text, ink in lines), default=0.0)
    height = sum(line_height(ink.size) for _, ink in lines)

    def draw(canvas: Canvas, x: float, y: float) -> None:
        for text, ink in lines:
            canvas.text(x, y, text, ink)
            y += line_height(ink.size)

    return Block(width, height, draw)


def heading(title: str, caption: str, paper: Paper, room: float) -> Block:
    """Return a panel's title in bold and its caption in grey, wrapped to `room` inches."""
    bold, quiet = Ink(TITLE_SIZE, bold=True), Ink(LABEL_SIZE + 0.5, QUIET_INK)
    lines = [(line, bold) for line in paper.typeface.wrap(title, bold.size, room, bold=True)] if title else []
    lines += [(line, quiet) for line in paper.typeface.wrap(caption, quiet.size, room)] if caption else []
    return text_block(lines, paper)


def stacked(blocks: list[Block], gap: float) -> Block:
    """Return the blocks below one another, `gap` inches apart; empty ones take no gap."""
    solid = [block for block in blocks if block.height > 0]

    def draw(canvas: Canvas, x: float, y: float) -> None:
        for block in solid:
            block.draw(canvas, x, y)
            y += block.height + gap

    height = sum(block.height for block in solid) + gap * max(0, len(solid) - 1)
    return Block(max((block.width for block in solid), default=0.0), height, draw)


def flowed(blocks: list[Block], room: float, gap: float, row_gap: float = 0.05) -> Block:
    """Return the blocks side by side, `gap` inches apart, in rows of at most `room` inches."""
    rows: list[list[Block]] = []
    for block in blocks:
        used = sum(each.width + gap for each in rows[-1]) if rows else 0.0
        if rows and used + block.width <= room:
            rows[-1].append(block)
        else:
            rows.append([block])
    return stacked([_row(row, gap) for row in rows], row_gap)


def packed(blocks: list[Block], room: float, gap: float) -> Block:
    """Return the blocks in shelves of columns, at most `room` inches wide.

    A block stands below those of the first column where that makes the shelf no higher, else beside the last column
    where there is room, else it begins a shelf.
    """
    shelves: list[list[list[Block]]] = []
    for block in blocks:
        shelf = shelves[-1] if shelves else []
        below = next((column for column in shelf if _fits_below(block, column, shelf, room, gap)), None)
        if below is not None:
            below.append(block)
        elif shelf and sum(stacked(column, gap).width + gap for column in shelf) + block.width <= room:
            shelf.append([block])
        else:
            shelves.append([[block]])
    return stacked([_row([stacked(column, gap) for column in shelf], gap) for shelf in shelves], gap)


def _fits_below(block: Block, column: list[Block], shelf: list[list[Block]], room: float, gap: float) -> bool:
    """Whether a block below a column makes its shelf no higher, and no wider than the room."""
    whole = stacked([*column, block], gap)
    others = [stacked(one, gap) for one in shelf if one is not column]
    width = whole.width + sum(one.width + gap for one in others)
    return width <= room and whole.height <= max((one.height for one in others), default=0.0)


def _row(blocks: list[Block], gap: float) -> Block:
    def draw(canvas: Canvas, x: float, y: float) -> None:
        for block in blocks:
            block.draw(canvas, x, y)
            x += block.width + gap

    width = sum(block.width for block in blocks) + gap * (len(blocks) - 1)
    return Block(width, max(block.height for block in blocks), draw)
