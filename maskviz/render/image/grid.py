"""One mask or one map of numbers as a block of a figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import ByteArray
from maskviz.core.panels.page import Heatmap, MapRow, MaskGrid, Token, first_place
from maskviz.render.fold import (
    Fill,
    FoldedMask,
    Tile,
    are_numbers,
    extremes_of,
    fold_mask,
    fold_values,
    place_words,
    strides,
    tile_to_fit,
)
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
from maskviz.render.image.legend import heat_legend, mask_legend, scale_bar
from maskviz.render.palette import IMAGE_INK, SOME, greyed, heat_colours, level, rgb, swatch_of

_ALL_LABELS = 60  # tokens along an axis up to which each has its label
_LABEL_PITCH = 0.118  # inches a label needs
_THINNED_PITCH = 0.16  # inches from label to label where not each token has one
_NUMBER_PITCH = 0.5  # inches from number to number where an axis has numbers alone
_LARGEST_CELL = 0.2
_ROOMY, _CROWDED, _BESIDE = 6.4, 3.9, 2.3  # inches the longer side of a grid should take
_SHORTEST_SIDE = 0.45  # inches
_MOST_PLACES = 1200  # places along an axis; more are folded
_TOKEN_ROOM = 0.95  # inches a token's label may take
_MOST_TRIES = 400
_GRID_LINES = 40  # places up to which cells are separated by white lines

Labels = tuple[tuple[float, str, str], ...]  # place along the axis, text, colour


@dataclass(frozen=True, slots=True)
class Axes:
    """The frame of a grid.

    Attributes:
        tile: Cells folded into one place.
        pixels: Device pixels along a side of one place.
        place: Inches along a side of one place.
        rows, columns: Labels of the queries and of the keys.
        row_room, column_room: Inches the labels take beside and below the grid.
    """

    tile: Tile
    pixels: int
    place: float
    rows: Labels
    columns: Labels
    row_room: float
    column_room: float


def axes_for(queries: tuple[Token, ...], keys: tuple[Token, ...], paper: Paper, side: float | None = None) -> Axes:
    """Return the frame of a grid: square places of whole pixels, each token labelled where there is room.

    Args:
        queries, keys: Tokens along the axes.
        paper: What it is drawn on.
        side: Inches the longer side should take, None for the paper's own.
    """
    longest = max(len(queries), len(keys), 1)
    runs = any(axis and axis[0].count > 1 for axis in (queries, keys))
    tile = tile_to_fit(longest, _MOST_PLACES)
    places = -(-longest // tile)
    target = (side or (_CROWDED if paper.crowded else _ROOMY)) / places
    least = _LABEL_PITCH if longest <= _ALL_LABELS and not runs else 0.0
    place = min(_LARGEST_CELL, max(least, target))
    pixels = max(1, round(place * paper.dpi))
    if paper.exact:
        pixels = min(pixels, _pixels_within(queries, keys, tile, paper))
    place = pixels / paper.dpi
    rows, row_room = axis_labels(queries, tile, place, paper)
    columns, column_room = axis_labels(keys, tile, place, paper)
    return Axes(Tile(tile, tile), pixels, place, rows, columns, row_room, column_room)


def _pixels_within(queries: tuple[Token, ...], keys: tuple[Token, ...], side: int, paper: Paper) -> int:
    """Return the most device pixels along a side of a place with which a grid and its labels fit the paper's width.

    Which tokens have labels, and so the room the labels take, depends on the pixels in turn.
    """
    places = max(1, -(-len(keys) // side))
    room = paper.width - _frame(_TOKEN_ROOM)
    pixels = max(1, int(room / places * paper.dpi))
    for larger in range(pixels + 1, pixels + _MOST_TRIES):
        label_room = axis_labels(queries, side, larger / paper.dpi, paper)[1]
        if _frame(label_room) + places * larger / paper.dpi > paper.width:
            break
        pixels = larger
    return pixels


def _frame(label_room: float) -> float:
    """Return the inches beside a grid whose labels take so many."""
    return line_height(LABEL_SIZE) + label_room + 0.1


def axis_labels(tokens: tuple[Token, ...], side: int, place: float, paper: Paper) -> tuple[Labels, float]:
    """Return the labels along an axis and the inches they need; a thinned axis has numbers
    too, and one that begins within its text; runs have numbers alone."""
    if tokens and tokens[0].count > 1:
        return _numbers(tokens, side, place, paper)
    needed = _LABEL_PITCH * 0.99 if place / side >= _LABEL_PITCH * 0.99 else _THINNED_PITCH
    stride = next(step for step in strides() if step * place / side >= needed)
    chosen = range(0, len(tokens), stride)
    offset = first_place(tokens)
    names = [_bare(tokens[number]) for number in chosen]
    if (stride > 1 or offset > 0) and not are_numbers(tokens):
        names = [f"{number + offset} {name}" for number, name in zip(chosen, names, strict=True)]
    texts = [paper.typeface.fit(name, LABEL_SIZE, _TOKEN_ROOM) for name in names]
    room = max((paper.typeface.width(text, LABEL_SIZE) for text in texts), default=0.0)
    return tuple(
        (number // side, text, IMAGE_INK if tokens[number].role == "image" and side == 1 else INK)
        for number, text in zip(chosen, texts, strict=True)
    ), room


def _numbers(tokens: tuple[Token, ...], side: int, place: float, paper: Paper) -> tuple[Labels, float]:
    """Return round numbers along an axis of runs of equal length, each where its token lies within its place."""
    first, run = first_place(tokens), tokens[0].count
    behind = (tokens[-1].place or 0) + tokens[-1].count
    inch = run * side / place  # tokens
    stride = next(step for step in strides() if step >= _NUMBER_PITCH * inch)
    labels = tuple(
        ((number + 0.5 - first) / (run * side) - 0.5, paper.typeface.shown(f"{number:,}"), INK)
        for number in range(-(-first // stride) * stride, behind, stride)
    )
    return labels, max((paper.typeface.width(text, LABEL_SIZE) for _, text, _ in labels), default=0.0)


def _bare(token: Token) -> str:
    return token.text.strip() or "·" * len(token.text)


def mask_block(panel: MaskGrid, paper: Paper) -> Block:
    """Return a mask with its legend."""
    axes = axes_for(panel.queries, panel.keys, paper)
    folded = fold_mask(panel.codes, panel.meaningless, axes.tile)
    grid = grid_block(mask_colours(folded), axes)
    room = paper.room(grid.width, 2.4)
    some = bool((folded.fill == Fill.SOME).any())
    legend = mask_legend(panel.legend, some, bool(panel.meaningless.any()), paper, room)
    size = axes.tile.times(panel.tile)
    note = heading("", f"each place is none, some or all of {size} cells" if size.folds else "", paper, paper.width)
    return stacked([heading(panel.title, panel.caption, paper, room), grid, legend, note], 0.07)


def mask_colours(folded: FoldedMask) -> ByteArray:
    """Return uint8 [tile row, tile column, 3] of a folded mask on paper."""
    table = np.zeros((256, 3), dtype=np.uint8)
    for code in np.unique(folded.codes):
        table[code] = rgb(swatch_of(int(code)).fill)
    colours = table[folded.codes]
    colours[folded.fill == Fill.SOME] = rgb(SOME.fill)
    colours[folded.meaningless] = greyed(colours[folded.meaningless])
    return colours


def heatmap_block(panel: Heatmap, paper: Paper) -> Block:
    """Return a map of numbers with its scale."""
    axes = axes_for(panel.queries, panel.keys, paper)
    grid = _map_block(panel, axes)
    room = paper.room(grid.width, 3.2)
    return stacked(
        [heading(panel.title, panel.caption, paper, room), grid, *_below([panel], panel.unit, axes, paper, room)], 0.07
    )


def map_row_block(panel: MapRow, paper: Paper) -> Block:
    """Return maps side by side, each under its title, with one scale for all."""
    first = panel.maps[0]
    axes = axes_for(first.queries, first.keys, paper, _BESIDE)
    blocks = []
    for one in panel.maps:
        grid = _map_block(one, axes)
        room = max(grid.width, min(_BESIDE + _TOKEN_ROOM, paper.width))
        blocks.append(stacked([heading(one.title, one.caption, paper, room), grid], 0.05))
    maps = flowed(blocks, paper.width, 0.25, 0.15)
    room = paper.room(maps.width, 3.2)
    title = heading(panel.title, panel.caption, paper, room)
    return stacked([title, maps, *_below(panel.maps, panel.unit, axes, paper, room)], 0.1)


def _map_block(panel: Heatmap, axes: Axes) -> Block:
    folded = fold_values(panel.values, panel.blocked, panel.meaningless, axes.tile)
    levels = level(folded.values, panel.scale, panel.top, panel.floor)
    return grid_block(heat_colours(levels, folded.blocked, folded.meaningless), axes)


def _below(maps: Sequence[Heatmap], unit: str, axes: Axes, paper: Paper, room: float) -> list[Block]:
    """Return the scale of maps that share one, and what a folded place of theirs means."""
    first = maps[0]
    legend = heat_legend(
        scale_bar(first.scale, first.floor, first.top, unit, paper),
        blocked=any(bool(one.blocked.any()) for one in maps),
        meaningless=any(bool(one.meaningless.any()) for one in maps),
        not_a_number=any(bool(np.isnan(one.values[~one.blocked]).any()) for one in maps),
        paper=paper,
        room=room,
    )
    cells = ((one.values, one.blocked, one.meaningless) for one in maps)
    extremes = extremes_of(cells) if axes.tile.folds else None
    return [legend, heading("", place_words(axes.tile, first.pooled, extremes), paper, room)]


def grid_block(colours: ByteArray, axes: Axes) -> Block:
    """Return the grid with its labels: queries at its left, keys below it, read from below."""
    tall, wide = (_stretch(count, axes.place) for count in colours.shape[:2])
    colours = colours.repeat(tall, axis=0).repeat(wide, axis=1)
    row, column = tall * axes.place, wide * axes.place
    height, width = colours.shape[0] * axes.place, colours.shape[1] * axes.place
    name = line_height(LABEL_SIZE)
    start = _frame(axes.row_room)

    def draw(canvas: Canvas, x: float, y: float) -> None:
        left, bottom = x + start, y + height
        if colours.size:
            canvas.picture(left, y, colours, axes.pixels)
        if max(colours.shape[:2], default=0) <= _GRID_LINES:
            canvas.lines(_separators(left, y, colours.shape, axes.place), "#ffffff", 0.5)
        for place, text, colour in axes.rows:
            ink = Ink(colour=colour, align="right", anchor="center")
            canvas.text(left - 0.05, y + (place + 0.5) * row, text, ink)
        for place, text, colour in axes.columns:
            upright = Ink(colour=colour, align="right", upright=True)
            canvas.text(left + (place + 0.5) * column, bottom + 0.05, text, upright)
        quiet = Ink(colour=QUIET_INK, align="center", anchor="center")
        canvas.text(left + width / 2, bottom + axes.column_room + 0.08 + name / 2, "key", quiet)
        turned = Ink(colour=QUIET_INK, align="center", anchor="center", upright=True)
        canvas.text(x + name / 2, y + height / 2, "query", turned)

    return Block(start + width, height + axes.column_room + 0.08 + name, draw)


def _stretch(places: int, place: float) -> int:
    """How many times as long each place of a short axis is drawn, where thousands of the other make places tiny."""
    return max(1, round(_SHORTEST_SIDE / (places * place))) if places and place < _LABEL_PITCH * 0.99 else 1


def _separators(
    left: float, top: float, shape: tuple[int, ...], place: float
) -> list[tuple[float, float, float, float]]:
    rows, columns = shape[0], shape[1]
    right, bottom = left + columns * place, top + rows * place
    across = [(left, top + row * place, right, top + row * place) for row in range(1, rows)]
    return across + [(left + column * place, top, left + column * place, bottom) for column in range(1, columns)]
