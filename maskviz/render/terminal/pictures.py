"""Pictures in the terminal: masks and heatmaps in a frame of tokens, and the maps of heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from maskviz.core.arrays import BoolArray
from maskviz.core.panels.page import Heatmap, MaskGrid, Token, first_place
from maskviz.core.words import Scale
from maskviz.core.writing import either
from maskviz.render.fold import (
    Fill,
    FoldedMask,
    Tile,
    are_numbers,
    extremes_of,
    fold_mask,
    fold_values,
    place_words,
    tile_to_fit,
    tokens_each,
)
from maskviz.render.numbers import share_text
from maskviz.render.palette import (
    ASCII_SHADES,
    BLOCKED,
    IMAGE_INK,
    MEANINGLESS,
    NOT_A_NUMBER,
    SHADES,
    SOME,
    VISIBLE,
    Levels,
    Swatch,
    greyed,
    hexadecimal,
    level,
    sequential,
    swatch_of,
)
from maskviz.render.terminal.screen import Screen, flowed, heading, left, right

_WIDEST_TOKEN = 16  # columns of a row label's token
_AROUND = 11  # lines besides the rows of a folded picture: title, caption, ruler, legend, the fold's sentence, prompt


@dataclass(frozen=True, slots=True)
class Frame:
    """How a [query, key] grid is laid out on a screen.

    Attributes:
        tile: Cells folded into one place.
        cell_width: Columns of one place, 1 or 2.
        labels: One per row of places, all equally wide.
    """

    tile: Tile
    cell_width: int
    labels: tuple[str, ...]

    @property
    def margin(self) -> int:
        """Columns left of the first place."""
        return (cell_len(self.labels[0]) if self.labels else 0) + 1

    def ink(self, queries: tuple[Token, ...], row: int) -> str:
        """The style of a row's label: parts of an image have a colour of their own."""
        return IMAGE_INK if self.tile.rows == 1 and queries[row].role == "image" else ""


def frame_for(queries: tuple[Token, ...], keys: tuple[Token, ...], screen: Screen, beside: int = 1) -> Frame:
    """Return the frame that shows the most on this screen: two columns a cell, else one, else folded.

    Args:
        queries, keys: Tokens along the axes.
        screen: The screen.
        beside: Grids that stand side by side behind one column of labels, `GAP` columns apart.
    """
    tokens = max(tokens_each(queries), tokens_each(keys))
    tile_rows = _tile_rows(queries, screen, tokens)
    labels = _labels(queries, tile_rows, screen)
    room = room_of(labels, screen, beside)
    tile_columns = tile_to_fit(len(keys), room, tokens)
    if tile_columns > tile_rows:
        # Square tiles, so that a diagonal stays one; folding more rows only makes the labels shorter.
        tile_rows = tile_columns
        labels = _labels(queries, tile_rows, screen)
        room = room_of(labels, screen, beside)
    wide = tile_columns == 1 and tile_rows == 1 and 2 * len(keys) <= room
    return Frame(Tile(tile_rows, tile_columns), 2 if wide else 1, labels)


GAP = 2  # columns between two grids


def room_of(labels: tuple[str, ...], screen: Screen, beside: int) -> int:
    """Return the columns each of some grids side by side may take."""
    room = screen.width - (cell_len(labels[0]) if labels else 0) - 1
    return (room + GAP) // beside - GAP


def _tile_rows(queries: tuple[Token, ...], screen: Screen, tokens: int) -> int:
    """Return how many queries a row stands for."""
    if screen.rows is not None:
        return tile_to_fit(len(queries), screen.rows, tokens)
    # A picture that would be only a little too high is better scrolled than folded.
    too_high = screen.height is not None and len(queries) > screen.height
    return tile_to_fit(len(queries), max(4, (screen.height or 0) - _AROUND), tokens) if too_high else 1


def _labels(queries: tuple[Token, ...], tile_rows: int, screen: Screen) -> tuple[str, ...]:
    """Return "3 the" for a row of one query, "0-3" for a row of several, the first one's number where that is all."""
    offset = first_place(queries)
    end = offset + len(queries)
    if are_numbers(queries):
        names = [token.text for token in queries[::tile_rows]]
        return tuple(right(name, max(map(len, names))) for name in names)
    digits = len(str(max(0, end - 1)))
    if tile_rows > 1:
        spans = [(start, min(start + tile_rows, end) - 1) for start in range(offset, end, tile_rows)]
        names = [f"{first}-{last}" if first < last else str(first) for first, last in spans]
        return tuple(right(name, 2 * digits + 1) for name in names)
    room = min(_WIDEST_TOKEN, screen.width // 4)
    tokens = [screen.fit(screen.label(token), room) for token in queries]
    width = max(map(cell_len, tokens), default=0)
    return tuple(f"{number:>{digits}} {left(text, width)}" for number, text in enumerate(tokens, start=offset))


def ruler(frame: Frame, keys: tuple[Token, ...]) -> Text:
    """Return the line above the grid with the index of every few keys."""
    step = 5 if frame.cell_width == 2 else 10
    line = " " * frame.margin
    places = -(-len(keys) // frame.tile.columns)
    first, run = first_place(keys), keys[0].count if keys else 1
    for place in range(0, places, step):
        index = str(first + place * frame.tile.columns * run)
        at = frame.margin + place * frame.cell_width
        if at + len(index) > frame.margin + max(places * frame.cell_width, 1):
            break
        line += " " * (at - len(line)) + index
    return Text(line, style="dim")


def key_line(queries: tuple[Token, ...], keys: tuple[Token, ...], screen: Screen) -> list[Text]:
    """Return the keys by name where they are other tokens than the queries, as in cross-attention."""
    if are_numbers(keys) or [token.text for token in queries] == [token.text for token in keys]:
        return []
    separator = " | " if screen.ascii_only else " │ "
    numbered = enumerate(keys[:64], start=first_place(keys))
    names = separator.join(f"{number} {screen.label(token)}" for number, token in numbered)
    more = f"{separator}and {len(keys) - 64} more" if len(keys) > 64 else ""
    return [Text(line, style="dim") for line in screen.wrap(f"keys: {names}{more}")]


def fold_sentence(frame: Frame, screen: Screen, meaning: str, unit: str = "cell") -> list[Text]:
    """Return the sentence that says what was folded and how to see every `unit`; nothing where nothing was."""
    if not frame.tile.folds:
        return []
    if screen.rows is not None and frame.tile.columns == 1:
        said = f"folded {frame.tile}: {meaning.partition(';')[0]}; {either('all=True', '--all')} shows every {unit}"
    else:
        why = f"to fit {screen.width} columns" if frame.tile.columns > 1 else f"to fit {screen.height} lines"
        bigger = "wider" if frame.tile.columns > 1 else "taller"
        said = f"folded {frame.tile} {why}: {meaning}; a {bigger} terminal or -o file.png shows every {unit}"
    sentence = screen.words(said)
    return [Text(line, style="dim") for line in screen.wrap(sentence)]


_SCALE_STEPS = 12  # places of the sample of the scale below a map


def mask_lines(grid: MaskGrid, screen: Screen) -> list[Text]:
    """Return a mask, a character and a colour for each reason, with its legend."""
    frame = frame_for(grid.queries, grid.keys, screen)
    folded = fold_mask(grid.codes, grid.meaningless, frame.tile)
    lines = heading(screen, grid.title, grid.caption)
    lines += key_line(grid.queries, grid.keys, screen)
    lines.append(ruler(frame, grid.keys))
    for row, label in enumerate(frame.labels):
        meaningless = bool(folded.meaningless[row])
        line = Text(f"{label} ", style="dim" if meaningless else frame.ink(grid.queries, row))
        for swatch in _mask_row(folded, row):
            # A visible cell fills its place, any other mark stands at its left: the eye finds the visible ones.
            mark = screen.mark(swatch)
            whole = mark * frame.cell_width if swatch in (VISIBLE, SOME) else mark.ljust(frame.cell_width)
            line.append(whole, style=MEANINGLESS.ink if meaningless else swatch.ink)
        lines.append(line)
    lines += _mask_legend(grid, folded, screen)
    some, every = screen.mark(SOME), screen.mark(VISIBLE)
    if grid.tile > 1:
        size = frame.tile.times(grid.tile)
        said = f"each place is none, some ({some}) or all ({every}) of {size} cells; -o file.png has smaller ones"
        return lines + [Text(line, style="dim") for line in screen.wrap(screen.words(said))]
    return lines + fold_sentence(frame, screen, f"{some} some visible, {every} all")


def _mask_row(folded: FoldedMask, row: int) -> list[Swatch]:
    """Return how each place of a row looks."""
    every = MEANINGLESS if folded.meaningless[row] else VISIBLE
    return [
        every if fill == Fill.ALL else SOME if fill == Fill.SOME else swatch_of(code)
        for fill, code in zip(folded.fill[row].tolist(), folded.codes[row].tolist(), strict=True)
    ]


def _mask_legend(grid: MaskGrid, folded: FoldedMask, screen: Screen) -> list[Text]:
    parts = [_sample(screen.mark(VISIBLE), VISIBLE.ink, "visible")]
    for entry in grid.legend:
        swatch = swatch_of(entry.code)
        parts.append(_sample(screen.mark(swatch), swatch.ink, f"{screen.words(entry.word)} {share_text(entry.share)}"))
    if folded.meaningless.any():
        parts.append(_sample(screen.mark(MEANINGLESS), MEANINGLESS.ink, "grey row: its query is padding"))
    return flowed(parts, screen.width)


def _sample(character: str, ink: str, words: str) -> Text:
    return Text.assemble((character, ink), " ", words)


def heatmap_lines(panel: Heatmap, screen: Screen) -> list[Text]:
    """Return a map of numbers, a colour or a shade each; blocked cells are a dot on no colour."""
    frame = frame_for(panel.queries, panel.keys, screen)
    folded = fold_values(panel.values, panel.blocked, panel.meaningless, frame.tile)
    levels = level(folded.values, panel.scale, panel.top, panel.floor)
    lines = heading(screen, panel.title, panel.caption)
    lines += key_line(panel.queries, panel.keys, screen)
    lines.append(ruler(frame, panel.keys))
    for row, label in enumerate(frame.labels):
        meaningless = bool(folded.meaningless[row])
        line = Text(f"{label} ", style="dim" if meaningless else frame.ink(panel.queries, row))
        line.append_text(heat_cells(levels[row], folded.blocked[row], meaningless, screen, frame.cell_width))
        lines.append(line)
    lines += scale_lines(panel, screen, bool(np.isnan(panel.values[~panel.blocked]).any()))
    extremes = extremes_of([(panel.values, panel.blocked, panel.meaningless)]) if frame.tile.folds else None
    meaning = place_words(frame.tile, panel.pooled, extremes)
    if meaning and not frame.tile.folds:
        return lines + [Text(line, style="dim") for line in screen.wrap(screen.words(meaning))]
    return lines + fold_sentence(frame, screen, meaning, "tile" if panel.pooled else "cell")


def heat_cells(levels: Levels, blocked: BoolArray, meaningless: bool, screen: Screen, cell_width: int) -> Text:
    """Return one row of shaded places.

    Args:
        levels: [place] in [0, 1].
        blocked: bool [place], True where the mask blocks.
        meaningless: Whether the row belongs to a padding query.
        screen: Decides between colours and characters.
        cell_width: Columns of a place.
    """
    line = Text()
    colours = greyed(sequential(levels)) if meaningless else sequential(levels)
    for value, is_blocked, colour in zip(levels.tolist(), blocked.tolist(), colours, strict=True):
        if is_blocked and screen.shaded:
            line.append(" " * cell_width)
        elif is_blocked:
            line.append(screen.mark(BLOCKED).ljust(cell_width), style=f"dim {BLOCKED.ink}")
        elif screen.shaded:
            line.append(shade(value, screen) * cell_width, style="dim" if meaningless else "")
        else:
            line.append(" " * cell_width, style=f"on {hexadecimal(colour)}")
    return line


def shade(value: float, screen: Screen) -> str:
    """Return the character of a level in [0, 1]; exactly zero has one of its own."""
    if value != value:
        return screen.mark(NOT_A_NUMBER)
    shades = ASCII_SHADES if screen.ascii_only else SHADES
    return shades[min(len(shades) - 1, int(value * len(shades)))]


def scale_lines(panel: Heatmap, screen: Screen, has_nan: bool, shared: str = "") -> list[Text]:
    """Return the scale below a map: its ends, a sample of its shades, and how blocked and grey places look.

    Args:
        panel: The map, or the first of several.
        screen: Where it is drawn.
        has_nan: Whether something in it is not a number.
        shared: For what else the scale is, empty for one map.
    """
    parts = [scale_sample(panel.scale, panel.floor, panel.top, panel.unit, screen)]
    parts += [Text(shared)] if shared else []
    if panel.blocked.any():
        parts.append(Text("blank: blocked") if screen.shaded else _sample(screen.mark(BLOCKED), BLOCKED.ink, "blocked"))
    if panel.meaningless.any():
        parts.append(Text("dim rows: the query is padding" if screen.shaded else "grey rows: the query is padding"))
    if has_nan:
        sign = screen.mark(NOT_A_NUMBER) if screen.shaded else " "
        parts.append(_sample(sign, "" if screen.shaded else f"on {NOT_A_NUMBER.fill}", "not a number"))
    return flowed(parts, screen.width)


def scale_sample(scale: Scale, floor: float, top: float, unit: str, screen: Screen) -> Text:
    """Return "0 [shades] 0.57 attention"."""
    steps = np.linspace(0.0, 1.0, _SCALE_STEPS)
    sample = heat_cells(steps, np.zeros(_SCALE_STEPS, dtype=np.bool_), False, screen, 1)
    lower = f"{floor:.2g} or less" if scale is Scale.LOG else "0"
    words = f"{screen.words(unit)}, log scale" if scale is Scale.LOG else screen.words(unit)
    return Text.assemble(f"{lower} ", sample, f" {top:.3g} {words}")
