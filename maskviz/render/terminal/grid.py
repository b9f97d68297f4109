"""One mask or one map of numbers in the terminal."""

from __future__ import annotations

import numpy as np
from rich.text import Text

from maskviz.core.arrays import BoolArray
from maskviz.core.panels.page import Heatmap, MaskGrid
from maskviz.core.words import Scale
from maskviz.render.fold import Fill, FoldedMask, fold_mask, fold_values
from maskviz.render.fold_words import extremes_of, place_words
from maskviz.render.numbers import share_text
from maskviz.render.palette import (
    ASCII_SHADES,
    BLOCKED,
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
from maskviz.render.terminal.frame import fold_sentence, frame_for, key_line, ruler
from maskviz.render.terminal.screen import Screen, flowed, heading

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


def scale_lines(panel: Heatmap, screen: Screen, has_nan: bool) -> list[Text]:
    """Return the scale below a map: its ends, a sample of its shades, and how blocked and grey places look."""
    parts = [scale_sample(panel.scale, panel.floor, panel.top, panel.unit, screen)]
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
