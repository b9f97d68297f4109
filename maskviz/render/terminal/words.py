"""Notes, tables and rows of tokens in the terminal."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from maskviz.core.panels.page import Note, Table, Token, TokenStrip, Tone
from maskviz.render.palette import IMAGE_INK, REPLACED_INK, WARNING_INK
from maskviz.render.terminal.screen import Screen, heading, left, right, wrapped

_GAP = 2  # columns between two columns of a table
_LEAST_COLUMN = 6

_TONES = {Tone.PLAIN: "", Tone.QUIET: "dim", Tone.WARNING: f"bold {WARNING_INK}"}
_ROLES = {
    "text": "",
    "special": "bold",
    "mask": f"bold {WARNING_INK}",
    "image": f"bold {IMAGE_INK}",
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


# Tokens of a row that are written out; a page of them is read by nobody, and the pictures carry labels of their own.
_MOST_TOKENS = 60


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
    for number, token in row[:_MOST_TOKENS]:
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
    if len(row) > _MOST_TOKENS:
        left_out = sum(token.count for _, token in row[_MOST_TOKENS:])
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
