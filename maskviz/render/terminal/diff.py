"""Two masks beside each other in the terminal."""

from __future__ import annotations

from rich.text import Text

from maskviz.core.panels.page import DiffGrid
from maskviz.render.fold import (
    fold_differences,
)
from maskviz.render.palette import (
    DIFFERENCES,
    MEANINGLESS,
)
from maskviz.render.terminal.pictures import fold_sentence, frame_for, key_line, ruler
from maskviz.render.terminal.screen import Screen, flowed, heading


def diff_lines(grid: DiffGrid, screen: Screen) -> list[Text]:
    """Return the grid, a character and a colour for each kind of cell, with a legend that counts them."""
    frame = frame_for(grid.queries, grid.keys, screen)
    codes, meaningless = fold_differences(grid.codes, grid.meaningless, frame.tile)
    lines = heading(screen, grid.title, grid.caption)
    lines += key_line(grid.queries, grid.keys, screen)
    lines.append(ruler(frame, grid.keys))
    for row, label in enumerate(frame.labels):
        grey = bool(meaningless[row])
        line = Text(f"{label} ", style="dim" if grey else frame.ink(grid.queries, row))
        for code in codes[row].tolist():
            swatch = DIFFERENCES[code]
            mark = screen.mark(swatch)
            whole = mark * frame.cell_width if code == 3 else mark.ljust(frame.cell_width)
            line.append(whole, style=MEANINGLESS.ink if grey else swatch.ink)
        lines.append(line)
    parts = [
        Text.assemble((screen.mark(DIFFERENCES[code]), DIFFERENCES[code].ink), f" {WORDS[code]} {grid.counts[code]:,}")
        for code in (1, 2, 3, 0)
    ]
    if meaningless.any():
        parts.append(Text("grey row: its query is padding", style=MEANINGLESS.ink))
    return lines + flowed(parts, screen.width) + fold_sentence(frame, screen, FOLDED)


FOLDED = "a place of several kinds of cells shows one that differs, the rarer kind first"


WORDS = ("neither", "only A", "only B", "both")
