"""A page in the terminal: words, token strips and tables; pictures by their kind."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from dataclasses import replace

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from maskviz.core.panels.charts import Bars, Curve
from maskviz.core.panels.page import (
    DiffGrid,
    HeadGrid,
    Heatmap,
    MapRow,
    MaskGrid,
    Matrix,
    Note,
    Page,
    Panel,
    Table,
    Token,
    TokenLines,
    TokenStrip,
    Tone,
)
from maskviz.render.palette import IMAGE_INK, REPLACED_INK, WARNING_INK
from maskviz.render.terminal.bars import bar_lines
from maskviz.render.terminal.curve import curve_lines
from maskviz.render.terminal.diff import diff_lines
from maskviz.render.terminal.heads import head_grid_lines
from maskviz.render.terminal.lines import token_lines_lines
from maskviz.render.terminal.map_row import map_row_lines
from maskviz.render.terminal.matrix import matrix_lines
from maskviz.render.terminal.pictures import heatmap_lines, mask_lines
from maskviz.render.terminal.screen import Screen, heading, left, right, wrapped

_GAP = 2  # columns between two columns of a table
_LEAST_COLUMN = 6

_TONES = {Tone.PLAIN: "", Tone.QUIET: "dim", Tone.WARNING: f"bold {WARNING_INK}"}
_ROLES = {
    "text": "",
    "special": "bold",
    "mask": f"bold {WARNING_INK}",
    "image": f"bold {IMAGE_INK}",
    "virtual": f"bold {IMAGE_INK}",
    "padding": "dim",
    "replaced": f"bold {REPLACED_INK}",
    "kept": f"bold {IMAGE_INK}",
}


def note_lines(note: Note, screen: Screen) -> list[Text]:
    """Return a note, wrapped, its details indented; a warning starts with "! ", which needs no colour."""
    sign = "! " if note.tone is Tone.WARNING else ""
    lines = wrapped(screen.words(note.text), screen.width - len(sign))
    own = [
        Text((sign if number == 0 else " " * len(sign)) + line, style=_TONES[note.tone])
        for number, line in enumerate(lines)
    ]
    details = [line for one in note.details for line in wrapped(screen.words(one), screen.width - len(_INDENT))]
    return [*own, *(Text(_INDENT + line) for line in details)]


_INDENT = "  "


def strip_lines(strip: TokenStrip, screen: Screen) -> list[Text]:
    """Return the tokens of each text with their numbers, as `0 [CLS] | 1 the`, wrapped."""
    lines = heading(screen, strip.title, "")
    for number in range(len(strip.rows)):
        front = f"{screen.words(strip.names[number])}  " if number < len(strip.names) else ""
        lines.extend(_token_row(list(strip.numbered(number)), front, screen))
    return lines


def _token_row(row: list[tuple[str, Token]], front: str, screen: Screen) -> list[Text]:
    separator = " | " if screen.ascii_only else " │ "
    lines = [Text.assemble((front, "bold"))]
    room = screen.width - len(front)
    fresh = True
    for number, token in row[: screen.tokens]:
        index = f"{number} "
        text = screen.fit(screen.token(token), room - len(index))
        width = len(index) + cell_len(text)
        if not fresh and lines[-1].cell_len + len(separator) + width > screen.width:
            lines.append(Text(" " * len(front)))
            fresh = True
        if not fresh:
            lines[-1].append(separator, style="dim")
        lines[-1].append(index, style="dim")
        lines[-1].append(text, style=_ROLES.get(token.role, ""))
        fresh = False
    if len(row) > screen.tokens:
        left_out = sum(token.count for _, token in row[screen.tokens :])
        lines.append(Text(f"{' ' * len(front)}and {left_out} more", style="dim"))
    return lines


def table_lines(table: Table, screen: Screen) -> list[Text]:
    """Return a table: titles in bold, a rule, then the rows; long cells are wrapped within their column."""
    titles = [screen.words(title.removesuffix(">")) for title in table.columns]
    aligned_right = [title.endswith(">") for title in table.columns]
    rows = [[screen.words(cell) for cell in row] for row in table.rows]
    natural = [max(cell_len(row[place]) for row in [titles, *rows]) for place in range(len(titles))]
    widths = _squeezed(natural, screen.width - _GAP * max(0, len(natural) - 1))
    lines = heading(screen, table.title, "")
    lines.extend(_table_row(titles, widths, aligned_right, "bold"))
    rule = "-" if screen.ascii_only else "─"
    lines.append(Text((" " * _GAP).join(rule * width for width in widths), style="dim"))
    for row in rows:
        lines.extend(_table_row(row, widths, aligned_right, ""))
    return lines + heading(screen, "", table.caption)


def _table_row(cells: list[str], widths: list[int], aligned_right: list[bool], style: str) -> list[Text]:
    columns = [wrapped(cell, width) for cell, width in zip(cells, widths, strict=True)]
    lines = []
    for number in range(max(map(len, columns), default=0)):
        parts = [
            (right if to_right else left)(column[number] if number < len(column) else "", width)
            for column, width, to_right in zip(columns, widths, aligned_right, strict=True)
        ]
        lines.append(Text((" " * _GAP).join(parts).rstrip(), style=style))
    return lines


def _squeezed(natural: list[int], room: int) -> list[int]:
    """Return column widths that add up to at most `room`, taken from the widest columns first."""
    widths = list(natural)
    while sum(widths) > room and max(widths) > _LEAST_COLUMN:
        widths[widths.index(max(widths))] -= 1
    return widths


def render(page: Page, console: Console, height: int | None = None) -> None:
    """Draw a page on a console.

    Args:
        page: What to draw. Its strings are shown as they are: no markup, no emoji codes, no control characters.
        console: Where to draw; its width, colours and encoding are respected.
        height: Lines of the terminal. A single picture is folded to about that, a grid of heads to about three
            times that. None draws as long as the width asks for.
    """
    screen = Screen.of(console, height)
    for number, block in enumerate(_blocks(page, screen)):
        if number:
            console.print()
        for line in block:
            line.truncate(screen.width)
            if not any("on #" in str(span.style) for span in line.spans):
                line.rstrip()  # spaces that show no colour
            console.print(screen.coloured(line), markup=False, highlight=False, emoji=False, soft_wrap=True)


# Rows a picture may have, and tokens that are written out, on a page that is to take few lines: the first that fit.
_SMALLER = ((24, 60), (20, 40), (16, 40), (13, 24), (11, 24), (9, 16), (8, 12), (7, 8))


def _blocks(page: Page, screen: Screen) -> list[list[Text]]:
    """Return what stands on a page, heading first, as large as the lines it is to take allow.

    Pictures are folded; where that is not enough, one after the other is told in a line.
    """
    shortest = _drawn(page, screen)
    if page.lines is None or _height(shortest) <= page.lines:
        return shortest
    for fewer in _with_fewer_pictures(page):
        for rows, tokens in _SMALLER:
            # Where rows are few anyway, the sentence on what was folded takes more lines than folding saves.
            shortest = min(shortest, _drawn(fewer, replace(screen, rows=rows, tokens=tokens)), key=_height)
            if _height(shortest) <= page.lines:
                return shortest
    return shortest


def _with_fewer_pictures(page: Page) -> Iterator[Page]:
    """The page as it is, then with one picture after the other told in a line: the first mask last."""
    yield page
    panels = list(page.panels)
    masks = [place for place, panel in enumerate(panels) if isinstance(panel, MaskGrid)]
    rows = [place for place, panel in enumerate(panels) if isinstance(panel, MapRow)]
    for place in (*reversed(masks[1:]), *reversed(rows[1:]), *masks[:1], *rows[:1]):
        picture = panels[place]
        assert isinstance(picture, MaskGrid | MapRow)
        panels[place] = Note(picture.line)
        yield replace(page, panels=tuple(panels))


def _height(blocks: list[list[Text]]) -> int:
    return sum(map(len, blocks)) + len(blocks) - 1


def _drawn(page: Page, screen: Screen) -> list[list[Text]]:
    blocks = [heading(screen, page.title, page.subtitle), *(panel_lines(panel, screen) for panel in page.panels)]
    return [block for block in blocks if block]


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
        case MapRow():
            return map_row_lines(panel, screen)
        case TokenLines():
            return token_lines_lines(panel, screen)
        case HeadGrid():
            return head_grid_lines(panel, screen)
        case Matrix() | Bars() | Curve():
            return _chart_lines(panel, screen)


def _chart_lines(panel: Matrix | Bars | Curve, screen: Screen) -> list[Text]:
    match panel:
        case Matrix():
            return matrix_lines(panel, screen)
        case Bars():
            return bar_lines(panel, screen)
        case Curve():
            return curve_lines(panel, screen)


def to_screen(page: Page) -> None:
    """Draw a page on standard output, or below the cell of a notebook, there as one output."""
    console = Console(markup=False, highlight=False, emoji=False)
    if not console.is_jupyter:
        render(page, console)
        return
    whole = io.StringIO()
    options = {"force_terminal": True, "force_jupyter": False, "color_system": "truecolor", "width": _NOTEBOOK}
    render(page, Console(file=whole, markup=False, highlight=False, emoji=False, **options))  # type: ignore[arg-type]
    sys.stdout.write(whole.getvalue())


_NOTEBOOK = 100  # columns below a cell


def plain_text(page: Page, width: int) -> str:
    """The picture without colour, for a file of `width` columns."""
    buffer = io.StringIO()
    options = {"markup": False, "highlight": False, "emoji": False, "force_jupyter": False}
    render(page, Console(file=buffer, width=width, color_system=None, **options))  # type: ignore[arg-type]
    return buffer.getvalue()
