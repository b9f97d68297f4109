"""Many heads in a figure: all maps in one picture, layers down and heads across."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import ByteArray
from maskviz.core.panels.page import HeadGrid, HeadTile
from maskviz.render.fold import Tile, extremes_of, fold_values, place_words, tile_to_fit
from maskviz.render.image.canvas import LABEL_SIZE, QUIET_INK, Block, Canvas, Ink, Paper, heading, line_height, stacked
from maskviz.render.image.legend import heat_legend, scale_bar
from maskviz.render.image.matrix import column_names
from maskviz.render.palette import GATE_INK, heat_colours, level

_WIDTH, _HEIGHT = 9.5, 11.0  # inches all maps together should take
_POOLED_HEIGHT = 15.0  # the same where maps were pooled to be drawn whole
_SMALLEST, _LARGEST = 0.36, 1.5  # inches a side of one map
_TINIEST = 0.02  # the same where the width is given
_GAP = 0.05
_LONGEST_NAME = 1.2
_GATE_SIZE = 6.0


@dataclass(frozen=True, slots=True)
class Sheet:
    """Where maps stand on the one picture.

    Attributes:
        fold: Cells folded into one place.
        zoom: Device pixels along a side of one place.
        slot: Device pixels (down, across) from one map to the next.
        first: Device pixels above the first map, room for the mark of a gate.
    """

    fold: Tile
    zoom: int
    slot: tuple[int, int]
    first: int


def sheet_for(grid: HeadGrid, paper: Paper) -> Sheet:
    """Return how large maps are: whole device pixels per cell, folded only where a map has more cells than pixels."""
    rows, columns = max(1, len(grid.row_names)), max(1, len(grid.column_names))
    height = _HEIGHT if grid.pooled is None else _POOLED_HEIGHT
    width = paper.width - _name_room(grid, paper) if paper.exact else _WIDTH
    side = min(_LARGEST, max(_TINIEST if paper.exact else _SMALLEST, min(width / columns, height / rows) - _GAP))
    pixels = int(side * paper.dpi) if paper.exact else round(side * paper.dpi)
    most = (max((tile.values.shape[axis] for tile in grid.tiles), default=1) for axis in (0, 1))
    queries, keys = most
    longest = max(queries, keys, 1)
    fold = tile_to_fit(longest, pixels)
    zoom = max(1, pixels // -(-longest // fold))
    gap = round(_GAP * paper.dpi)
    above = round(line_height(_GATE_SIZE) * paper.dpi) if any(tile.gate is not None for tile in grid.tiles) else 0
    high, wide = (-(-count // fold) * zoom for count in (queries, keys))
    return Sheet(Tile(fold, fold), zoom, (high + gap + above, wide + gap), above)


def _name_room(grid: HeadGrid, paper: Paper) -> float:
    """Return the most inches the names of rows take, beside the maps."""
    kinds = {name.rpartition(" ")[0] for name in grid.column_names}
    names = [*(paper.typeface.fit(name, LABEL_SIZE, _LONGEST_NAME) for name in grid.row_names), *kinds]
    return max((paper.typeface.width(name, LABEL_SIZE) for name in names), default=0.0) + 0.07


def raster(grid: HeadGrid, sheet: Sheet) -> ByteArray:
    """Return uint8 [pixel row, pixel column, 3]: every map at its place, white between them."""
    height = sheet.first + len(grid.row_names) * sheet.slot[0]
    pixels = np.full((height, len(grid.column_names) * sheet.slot[1], 3), 255, dtype=np.uint8)
    for tile in grid.tiles:
        colours = _colours(grid, tile, sheet)
        top, left = _corner(tile, sheet)
        pixels[top : top + colours.shape[0], left : left + colours.shape[1]] = colours
    return pixels


def _corner(tile: HeadTile, sheet: Sheet) -> tuple[int, int]:
    return sheet.first + tile.row * sheet.slot[0], tile.column * sheet.slot[1]


def _colours(grid: HeadGrid, tile: HeadTile, sheet: Sheet) -> ByteArray:
    folded = fold_values(tile.values, tile.blocked, tile.meaningless, sheet.fold)
    levels = level(folded.values, grid.scale, grid.top, grid.floor)
    colours = heat_colours(levels, folded.blocked, folded.meaningless)
    return np.repeat(np.repeat(colours, sheet.zoom, axis=0), sheet.zoom, axis=1)


def head_grid_block(grid: HeadGrid, paper: Paper) -> Block:
    """Return all maps with the names of layers and heads, and one scale for all."""
    sheet = sheet_for(grid, paper)
    maps = _maps_block(grid, sheet, paper)
    room = paper.room(maps.width, 3.2)
    legend = heat_legend(
        scale_bar(grid.scale, grid.floor, grid.top, f"{grid.unit}, one scale for all heads", paper),
        blocked=any(bool(tile.blocked.any()) for tile in grid.tiles),
        meaningless=any(bool(tile.meaningless.any()) for tile in grid.tiles),
        not_a_number=any(bool(np.isnan(tile.values[~tile.blocked]).any()) for tile in grid.tiles),
        paper=paper,
        room=room,
    )
    note = heading("", place_words(sheet.fold, grid.pooled, extremes_in(grid, sheet.fold)), paper, room)
    return stacked([heading(grid.title, grid.caption, paper, room), maps, legend, note], 0.08)


def extremes_in(grid: HeadGrid, fold: Tile) -> tuple[float, float] | None:
    """Return the smallest and the largest single value of all maps where they were folded, else None."""
    if not fold.folds or grid.pooled is not None:
        return None
    return extremes_of((tile.values, tile.blocked, tile.meaningless) for tile in grid.tiles)


def _maps_block(grid: HeadGrid, sheet: Sheet, paper: Paper) -> Block:
    pixels = raster(grid, sheet)
    down, across = (length / paper.dpi for length in sheet.slot)
    above, side = sheet.first / paper.dpi, (sheet.slot[1] / paper.dpi) - _GAP
    rows = [paper.typeface.fit(name, LABEL_SIZE, _LONGEST_NAME) for name in grid.row_names]
    columns, kind = column_names(grid.column_names, across, paper)
    margin = max((paper.typeface.width(name, LABEL_SIZE) for name in [*rows, kind]), default=0.0) + 0.07
    top = line_height(LABEL_SIZE) + 0.02

    def draw(canvas: Canvas, x: float, y: float) -> None:
        left, start = x + margin, y + top
        if pixels.size:
            canvas.picture(left, start, pixels, 1)
        for number, name in enumerate(rows):
            middle = start + above + number * down + (down - above - _GAP) / 2
            canvas.text(left - 0.05, middle, name, Ink(align="right", anchor="center"))
        canvas.text(left - 0.05, y, kind, Ink(colour=QUIET_INK, align="right"))
        for number, name in enumerate(columns):
            canvas.text(left + number * across + side / 2, y, name, Ink(align="center"))
        for tile in grid.tiles:
            if tile.gate is not None:
                corner = (left + tile.column * across, start + above + tile.row * down)
                _mark_gate(canvas, corner, (side, down - above - _GAP), tile.gate)

    return Block(margin + pixels.shape[1] / paper.dpi, top + pixels.shape[0] / paper.dpi, draw)


def _mark_gate(canvas: Canvas, corner: tuple[float, float], size: tuple[float, float], gate: float) -> None:
    """Frame a map and say above it what its head is multiplied by."""
    x, y = corner
    canvas.box(x, y, *size, "none", GATE_INK)
    words = "✂ ×0" if gate == 0 else f"×{gate:.2g}"
    canvas.text(x, y - 0.015, words, Ink(_GATE_SIZE, GATE_INK, anchor="bottom"))
