"""A page in the terminal: each panel becomes lines of styled text no wider than the console."""

from __future__ import annotations

import io

from rich.console import Console
from rich.text import Text

from maskviz.core.panels.charts import Bars, Curve
from maskviz.core.panels.page import DiffGrid, HeadGrid, Heatmap, MaskGrid, Matrix, Note, Page, Panel, Table, TokenStrip
from maskviz.render.terminal.bars import bar_lines
from maskviz.render.terminal.curve import curve_lines
from maskviz.render.terminal.diff import diff_lines
from maskviz.render.terminal.grid import heatmap_lines, mask_lines
from maskviz.render.terminal.heads import head_grid_lines
from maskviz.render.terminal.matrix import matrix_lines
from maskviz.render.terminal.screen import Screen, heading
from maskviz.render.terminal.words import note_lines, strip_lines, table_lines


def render(page: Page, console: Console, height: int | None = None) -> None:
    """Draw a page on a console.

    Args:
        page: What to draw. Its strings are shown as they are: no markup, no emoji codes, no control characters.
        console: Where to draw; its width, colours and encoding are respected.
        height: Lines of the terminal. A single picture is folded to about that, a grid of heads to about three
            times that. None draws as long as the width asks for.
    """
    screen = Screen.of(console, height)
    blocks = [heading(screen, page.title, page.subtitle)]
    blocks += [panel_lines(panel, screen) for panel in page.panels]
    for number, block in enumerate(block for block in blocks if block):
        if number:
            console.print()
        for line in block:
            line.truncate(screen.width)
            if not any("on #" in str(span.style) for span in line.spans):
                line.rstrip()  # spaces that show no colour
            console.print(screen.coloured(line), markup=False, highlight=False, emoji=False, soft_wrap=True)


def panel_lines(panel: Panel, screen: Screen) -> list[Text]:
    """Return the lines of one panel, each at most the screen's width."""
    match panel:
        case Note():
            return note_lines(panel, screen)
        case TokenStrip():
            return strip_lines(panel, screen)
        case Table():
            return table_lines(panel, screen)
        case MaskGrid():
            return mask_lines(panel, screen)
        case DiffGrid():
            return diff_lines(panel, screen)
        case Heatmap():
            return heatmap_lines(panel, screen)
        case HeadGrid():
            return head_grid_lines(panel, screen)
        case Matrix():
            return matrix_lines(panel, screen)
        case Bars():
            return bar_lines(panel, screen)
        case Curve():
            return curve_lines(panel, screen)


def to_screen(page: Page) -> None:
    """Draw a page on standard output, or below the cell of a notebook."""
    render(page, Console(markup=False, highlight=False, emoji=False))


def plain_text(page: Page, width: int) -> str:
    """The picture without colour, for a file of `width` columns."""
    buffer = io.StringIO()
    render(page, Console(file=buffer, width=width, color_system=None, markup=False, highlight=False, emoji=False))
    return buffer.getvalue()
