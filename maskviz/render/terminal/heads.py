"""Many heads in the terminal: small maps, layers down and heads across."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from maskviz.core.arrays import BoolArray, ByteArray
from maskviz.core.panels.page import HeadGrid, HeadTile
from maskviz.core.writing import either, parameter
from maskviz.render.fold import (
    Tile,
    extremes_of,
    fold_values,
    place_words,
    tile_to_fit,
)
from maskviz.render.palette import (
    GATE_INK,
    greyed,
    hexadecimal,
    level,
    sequential,
)
from maskviz.render.terminal.pictures import heat_cells, scale_sample
from maskviz.render.terminal.screen import Screen, flowed, heading, short_name

_NARROWEST = 5  # columns of a thumbnail
_READABLE = 8  # columns a thumbnail gets where there are lines enough
_WIDEST = 24
_SCREENS = 3  # a grid of heads may be this many times the height of the terminal
_BESIDE_HEADS = 8


@dataclass(frozen=True, slots=True)
class HeadPlan:
    """How thumbnails are laid out.

    Attributes:
        width: Columns of one thumbnail.
        per_line: Thumbnails side by side.
        layers: Rows of the grid that are drawn.
    """

    width: int
    per_line: int
    layers: int


def head_grid_lines(grid: HeadGrid, screen: Screen) -> list[Text]:
    """Return the thumbnails of each layer under its name, then the scale and what was folded or left out."""
    plan = plan_for(grid, screen)
    by_place = {(tile.row, tile.column): tile for tile in grid.tiles}
    lines = heading(screen, grid.title, grid.caption)
    for row in range(plan.layers):
        lines.append(Text(screen.words(grid.row_names[row]), style="bold"))
        columns = [column for column in range(len(grid.column_names)) if (row, column) in by_place]
        for first in range(0, len(columns), plan.per_line):
            chosen = [by_place[row, column] for column in columns[first : first + plan.per_line]]
            lines.extend(_band(grid, chosen, plan.width, screen))
    return lines + _footer(grid, plan, screen)


def plan_for(grid: HeadGrid, screen: Screen) -> HeadPlan:
    """Return the largest thumbnails that put a layer's heads into one line, else into as few lines as possible.

    With a height, thumbnails shrink until all layers fit in three screens; if even the smallest do not, the first
    layers that fit are drawn.
    """
    heads, layers = max(1, len(grid.column_names)), len(grid.row_names)
    per_line = next(
        count
        for count in (-(-heads // parts) for parts in range(1, heads + 1))
        if count == 1 or _slot(count, screen) >= _READABLE
    )
    widest = max((tile.values.shape[1] for tile in grid.tiles), default=1)
    largest = max(_NARROWEST, min(_WIDEST, _slot(per_line, screen), max(2 * widest, 7)))
    if screen.height is None:
        return HeadPlan(largest, per_line, layers)
    room = _SCREENS * screen.height - _BESIDE_HEADS
    for width in range(largest, _NARROWEST - 1, -1):
        fitting = min(heads, (screen.width + 1) // (width + 1)) if width < largest else per_line
        if layers * layer_height(grid, HeadPlan(width, fitting, layers), screen) <= room:
            return HeadPlan(width, fitting, layers)
    smallest = HeadPlan(_NARROWEST, min(heads, max(1, (screen.width + 1) // (_NARROWEST + 1))), layers)
    shown = max(1, room // layer_height(grid, smallest, screen))
    return HeadPlan(smallest.width, smallest.per_line, min(layers, shown))


def _slot(per_line: int, screen: Screen) -> int:
    return (screen.width + 1) // per_line - 1


def layer_height(grid: HeadGrid, plan: HeadPlan, screen: Screen) -> int:
    """Return the lines one layer takes: its name, and for each line of thumbnails their names and their rows."""
    lines = -(-len(grid.column_names) // plan.per_line)
    sizes = {tile.values.shape for tile in grid.tiles}
    return 1 + lines * (1 + max((_picture_height(shape, plan.width, screen) for shape in sizes), default=1))


def _tile_and_zoom(shape: tuple[int, ...], width: int, screen: Screen) -> tuple[Tile, int]:
    """Return the fold of a thumbnail and how many columns each folded cell takes."""
    columns = tile_to_fit(shape[1], width)
    if columns > 1:
        # A character is twice as high as wide; a half-block is square, a shade character is not.
        return Tile(columns * 2 if screen.shaded else columns, columns), 1
    zoom = max(1, width // max(1, shape[1]))
    return Tile(1, 1), min(zoom, 2)


def _picture_height(shape: tuple[int, ...], width: int, screen: Screen) -> int:
    tile, zoom = _tile_and_zoom(shape, width, screen)
    rows = -(-shape[0] // tile.rows)
    return rows if screen.shaded else -(-rows * zoom // 2)


def _band(grid: HeadGrid, tiles: list[HeadTile], width: int, screen: Screen) -> list[Text]:
    """Return thumbnails side by side under their names."""
    names = Text()
    for tile in tiles:
        name, gated = _name(grid, tile, width, screen)
        names.append(name + " " * (width + 1 - cell_len(name)), style=GATE_INK if gated else "dim")
    pictures = [_picture(grid, tile, width, screen) for tile in tiles]
    lines = [names]
    for number in range(max(map(len, pictures))):
        line = Text()
        for picture in pictures:
            part = picture[number] if number < len(picture) else Text()
            line.append_text(part)
            line.append(" " * (width + 1 - part.cell_len))
        lines.append(line)
    for line in lines:
        line.rstrip()
    return lines


def _name(grid: HeadGrid, tile: HeadTile, width: int, screen: Screen) -> tuple[str, bool]:
    """Return a thumbnail's name with its gate, as long a form as fits, and whether it is gated."""
    full = screen.words(grid.column_names[tile.column])
    short = short_name(full)
    if tile.gate is None:
        return (full if cell_len(full) <= width else screen.fit(short, width)), False
    times, number = ("x" if screen.ascii_only else "×"), short.lstrip("h")
    if tile.gate == 0:
        forms = [f"{short} cut", f"{short} x", f"{short}x"] if screen.ascii_only else [f"{short} ✂", f"{short}✂"]
    else:
        value = f"{tile.gate:.2g}"
        forms = [f"{short} {times}{value}", f"{short}{times}{value}", f"{number}{times}{value.removeprefix('0')}"]
    return next((form for form in forms if cell_len(form) <= width), screen.fit(forms[-1], width)), True


def _picture(grid: HeadGrid, tile: HeadTile, width: int, screen: Screen) -> list[Text]:
    fold, zoom = _tile_and_zoom(tile.values.shape, width, screen)
    folded = fold_values(tile.values, tile.blocked, tile.meaningless, fold)
    levels = level(folded.values, grid.scale, grid.top, grid.floor)
    if screen.shaded:
        return [
            heat_cells(row, blocked, meaningless, screen, zoom)
            for row, blocked, meaningless in zip(levels, folded.blocked, folded.meaningless.tolist(), strict=True)
        ]
    colours = sequential(levels)
    colours[folded.meaningless] = greyed(colours[folded.meaningless])
    return _half_blocks(
        np.repeat(np.repeat(colours, zoom, axis=0), zoom, axis=1),
        np.repeat(np.repeat(~folded.blocked, zoom, axis=0), zoom, axis=1),
    )


def _half_blocks(colours: ByteArray, painted: BoolArray) -> list[Text]:
    """Return two rows of pixels per line; what is not painted keeps the terminal's own background.

    Args:
        colours: uint8 [row, column, 3].
        painted: bool [row, column], False where the mask blocks.
    """
    if len(colours) % 2:
        colours = np.concatenate([colours, np.zeros_like(colours[:1])])
        painted = np.concatenate([painted, np.zeros_like(painted[:1])])
    lines = []
    for row in range(0, len(colours), 2):
        line = Text()
        for column in range(colours.shape[1]):
            upper, lower = hexadecimal(colours[row, column]), hexadecimal(colours[row + 1, column])
            match bool(painted[row, column]), bool(painted[row + 1, column]):
                case True, True:
                    line.append("▀", style=f"{upper} on {lower}")
                case True, False:
                    line.append("▀", style=upper)
                case False, True:
                    line.append("▄", style=lower)
                case _:
                    line.append(" ")
        lines.append(line)
    return lines


def _footer(grid: HeadGrid, plan: HeadPlan, screen: Screen) -> list[Text]:
    parts = [scale_sample(grid.scale, grid.floor, grid.top, grid.unit, screen), Text("one scale for all heads")]
    if any(tile.blocked.any() for tile in grid.tiles):
        parts.append(Text("blank: blocked"))
    lines = flowed(parts, screen.width)
    sentences = []
    folds = sorted({_tile_and_zoom(tile.values.shape, plan.width, screen)[0] for tile in grid.tiles}, key=str)
    folded = [fold for fold in folds if fold.folds]
    if folded:
        extremes = extremes_of((tile.values, tile.blocked, tile.meaningless) for tile in grid.tiles)
        meanings = " or ".join(place_words(fold, grid.pooled, extremes) for fold in folded)
        sentences.append(f"{meanings}; -o file.png shows every {'tile' if grid.pooled else 'cell'}")
    elif grid.pooled is not None:
        sentences.append(place_words(Tile(1, 1), grid.pooled, None))
    left_out = len(grid.row_names) - plan.layers
    if left_out:
        sentences.append(_left_out(grid.row_names[plan.layers :]))
    for sentence in sentences:
        lines += [Text(line, style="dim") for line in screen.wrap(screen.words(sentence))]
    return lines


def _left_out(names: tuple[str, ...]) -> str:
    """Return the sentence about rows that were not drawn and how to see them."""
    rows = "row is" if len(names) == 1 else "rows are"
    first, last = names[0].split()[-1], names[-1].split()[-1]
    layers = first if first == last else f"{first}-{last}"
    option = f"{parameter('layer', layers)}, or " if (first + last).isdigit() else ""
    file = either("save('file.png')", "-o file.png")
    return f"{len(names)} more {rows} not shown, from {names[0]} on: {option}{file}"
