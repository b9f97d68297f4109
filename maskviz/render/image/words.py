"""Notes, tables and rows of tokens as blocks of a figure."""

from __future__ import annotations

from maskviz.core.panels.page import Note, Table, Token, TokenStrip, Tone
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
    text_block,
)
from maskviz.render.palette import WARNING_INK

_CELL_SIZE = 7.5  # points of text in tables
_COLUMN_GAP, _NARROW_GAP = 0.2, 0.1
_WIDEST_COLUMN = 4.0
_MOST_ROWS = 300
_MOST_TOKENS = 120
_ROLE_FILLS = {
    "text": "#eef2f7",
    "special": "#d7e3f1",
    "mask": "#fbe3cf",
    "image": "#cfeade",
    "virtual": "#cfeade",
    "padding": "#e4e4e4",
    "replaced": "#f0d3e3",
    "kept": "#cfeade",
}
_TONE_INKS = {Tone.PLAIN: INK, Tone.QUIET: QUIET_INK, Tone.WARNING: WARNING_INK}


def note_block(note: Note, paper: Paper) -> Block:
    """Return a wrapped note in the colour of its tone; a warning is bold too. Details are plain."""
    ink = Ink(LABEL_SIZE + 0.5, _TONE_INKS[note.tone], bold=note.tone is Tone.WARNING)
    lines = paper.typeface.wrap(note.text, ink.size, paper.width, ink.bold)
    plain = Ink(LABEL_SIZE + 0.5, INK)
    details = [line for one in note.details for line in paper.typeface.wrap(one, plain.size, paper.width)]
    return text_block([*((line, ink) for line in lines), *((line, plain) for line in details)], paper)


def strip_block(strip: TokenStrip, paper: Paper) -> Block:
    """Return the tokens of each text in boxes by their role, each with its number."""
    rows = [heading(strip.title, "", paper, paper.width)]
    for number in range(len(strip.rows)):
        row = list(strip.numbered(number))
        name = paper.typeface.fit(strip.names[number], _CELL_SIZE, 1.5) if number < len(strip.names) else ""
        boxes = [text_block([(f"{name}  ", Ink(_CELL_SIZE, QUIET_INK))], paper)] if name else []
        boxes += [_token_box(place, token, paper) for place, token in row[:_MOST_TOKENS]]
        if len(row) > _MOST_TOKENS:
            more = f"and {sum(token.count for _, token in row[_MOST_TOKENS:])} more"
            boxes.append(text_block([(more, Ink(colour=QUIET_INK))], paper))
        rows.append(flowed(boxes, paper.width, 0.05))
    return stacked(rows, 0.08)


def _token_box(index: str, token: Token, paper: Paper) -> Block:
    text = paper.typeface.fit(with_dots(token.text), _CELL_SIZE, 1.5)
    index_width = paper.typeface.width(index, 5.0)
    width = index_width + paper.typeface.width(text, _CELL_SIZE) + 0.11
    height = line_height(_CELL_SIZE) + 0.04

    def draw(canvas: Canvas, x: float, y: float) -> None:
        canvas.box(x, y, width, height, _ROLE_FILLS.get(token.role, _ROLE_FILLS["text"]))
        canvas.text(x + 0.03, y + height / 2, index, Ink(5.0, QUIET_INK, anchor="center"))
        ink = Ink(_CELL_SIZE, QUIET_INK if token.role == "padding" else INK, anchor="center")
        canvas.text(x + 0.07 + index_width, y + height / 2, text, ink)

    return Block(width, height, draw)


def with_dots(text: str) -> str:
    """Return `text` with the spaces at its ends as middle dots."""
    bare = text.strip(" ")
    if not bare:
        return "·" * len(text)
    start = len(text) - len(text.lstrip(" "))
    return "·" * start + bare + "·" * (len(text) - start - len(bare))


def table_block(table: Table, paper: Paper) -> Block:
    """Return a table: bold titles, a line, the rows; long cells are wrapped within their column."""
    rows = [[title.removesuffix(">") for title in table.columns], *map(list, table.rows[:_MOST_ROWS])]
    gap = _NARROW_GAP if paper.exact else _COLUMN_GAP
    widths = _widths(rows, paper, gap)
    wrap = paper.typeface.wrap
    wrapped = [
        [wrap(cell, _CELL_SIZE, width, bold=number == 0) for cell, width in zip(row, widths, strict=True)]
        for number, row in enumerate(rows)
    ]
    heights = [max((len(cell) for cell in row), default=1) * line_height(_CELL_SIZE) + 0.03 for row in wrapped]
    heights[0] += 0.05
    columns = [
        (sum(widths[:number]) + number * gap, widths[number], title.endswith(">"))
        for number, title in enumerate(table.columns)
    ]

    def draw(canvas: Canvas, x: float, y: float) -> None:
        for number, row in enumerate(wrapped):
            _draw_row(canvas, (x, y), row, columns, number == 0)
            y += heights[number]
            if number == 0:
                canvas.lines([(x, y - 0.045, x + body.width, y - 0.045)], "#808080", 0.6)

    body = Block(sum(widths) + gap * max(0, len(widths) - 1), sum(heights), draw)
    left_out = len(table.rows) - _MOST_ROWS
    more = heading("", f"{left_out} more rows are not shown" if left_out > 0 else "", paper, paper.width)
    room = paper.room(body.width, 3.2)
    caption = heading("", table.caption, paper, room)
    return stacked([heading(table.title, "", paper, room), body, more, caption], 0.05)


def _draw_row(
    canvas: Canvas, at: tuple[float, float], row: list[list[str]], columns: list[tuple[float, float, bool]], bold: bool
) -> None:
    """Draw one row; each column has its distance from the left, its width, and whether it is set to the right."""
    for lines, (start, width, to_right) in zip(row, columns, strict=True):
        x, y = at[0] + start, at[1]
        ink = Ink(_CELL_SIZE, bold=bold, align="right" if to_right else "left")
        for number, line in enumerate(lines):
            canvas.text(x + width if to_right else x, y + number * line_height(_CELL_SIZE), line, ink)


def _widths(rows: list[list[str]], paper: Paper, gap: float) -> list[float]:
    """Return the inches of each column: its widest cell, at most `_WIDEST_COLUMN`, less where the paper has less."""

    def width(text: str, bold: bool) -> float:
        return paper.typeface.width(paper.typeface.shown(text), _CELL_SIZE, bold) + 0.01

    columns = list(zip(*rows, strict=True))
    widths = [min(_WIDEST_COLUMN, max(width(cell, not n) for n, cell in enumerate(column))) for column in columns]
    room = paper.width - gap * max(0, len(widths) - 1)
    if not paper.exact or sum(widths) <= room:
        return widths
    words = [max(width(word, not n) for n, cell in enumerate(column) for word in cell.split(" ")) for column in columns]
    least = [min(pair) for pair in zip(words, widths, strict=True)]
    if sum(least) > room:
        return _shared(least, room)
    more = [wide - word for wide, word in zip(widths, least, strict=True)]
    return [word + part for word, part in zip(least, _shared(more, room - sum(least)), strict=True)]


def _shared(widths: list[float], room: float) -> list[float]:
    """Return widths that sum to `room`: those below an equal share stay, the others share what is left."""
    given = dict(enumerate(widths))
    for done, place in enumerate(sorted(given, key=widths.__getitem__)):
        given[place] = min(widths[place], max(room, 0.0) / (len(widths) - done))
        room -= given[place]
    return [given[place] for place in range(len(widths))]
