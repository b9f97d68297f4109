"""The map of one head, a cell of it under the cursor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.message import Message
from textual.widget import Widget

from maskviz.core.arrays import BoolArray, ByteArray
from maskviz.core.panels import Token
from maskviz.explore.viewport import start_of
from maskviz.render.palette import MEANINGLESS, VISIBLE, Levels, swatch_of
from maskviz.render.screen import Screen, left
from maskviz.render.terminal_grid import heat_cells

_NARROW, _WIDE, _NAMED = 2, 8, 4  # columns of a cell: the fewest, the most, and from which on keys have names
_LABEL = 14  # columns a token's label may take
_EVERY = 5  # keys from number to number in the ruler


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """What a map shows.

    Attributes:
        queries, keys: Tokens along the axes.
        codes: uint8 [query, key], 0 = visible, else a reason's bit.
        levels: [query, key], attention's place on the scale in [0, 1]; None draws the mask.
        meaningless: bool [query], True where the query is padding.
    """

    queries: tuple[Token, ...]
    keys: tuple[Token, ...]
    codes: ByteArray
    levels: Levels | None
    meaningless: BoolArray


class CellMap(Widget, can_focus=True):
    """A map that can be walked with the arrow keys; it says where the reader wants to go and is told where they are."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "walk(-1,0)", "query", show=False),
        Binding("down", "walk(1,0)", "query", show=False),
        Binding("left", "walk(0,-1)", "key", show=False),
        Binding("right", "walk(0,1)", "key", show=False),
        Binding("pageup", "walk(-10,0)", "10 queries", show=False),
        Binding("pagedown", "walk(10,0)", "10 queries", show=False),
        Binding("home", "walk(0,-1000000)", "first key", show=False),
        Binding("end", "walk(0,1000000)", "last key", show=False),
    ]

    class Walked(Message):
        """The reader wants to go so many queries down and keys to the right."""

        def __init__(self, query: int, key: int) -> None:
            super().__init__()
            self.query, self.key = query, key

    def __init__(self, screen: Screen, id: str) -> None:
        """Show nothing yet on a terminal that can show what `screen` says."""
        super().__init__(id=id)
        self._screen = screen
        self._cells: Cells | None = None
        self._cursor = (0, 0)
        self._first = (0, 0)

    def show(self, cells: Cells, cursor: tuple[int, int]) -> None:
        """Draw these cells, with the cursor on a query and a key."""
        self._cells, self._cursor = cells, cursor
        self.refresh()

    def action_walk(self, query: int, key: int) -> None:
        """Ask to go to another cell."""
        self.post_message(self.Walked(query, key))

    def on_click(self, event: Click) -> None:
        """Ask to go to the cell that was clicked."""
        row, column = event.y - 1, (event.x - self._gutter()) // self._width()
        if row >= 0 and column >= 0:
            self.action_walk(self._first[0] + row - self._cursor[0], self._first[1] + column - self._cursor[1])

    def render(self) -> Text:
        """The part of the map around the cursor that there is room for."""
        if self._cells is None:
            return Text("")
        cells, gutter = self._cells, self._gutter()
        rows, columns = max(1, self.size.height - 1), max(1, (self.size.width - gutter) // self._width())
        counts = len(cells.queries), len(cells.keys)
        first_row = start_of(self._cursor[0], counts[0], rows, self._first[0])
        first_column = start_of(self._cursor[1], counts[1], columns, self._first[1])
        self._first = first_row, first_column
        shown = range(first_column, min(counts[1], first_column + columns))
        lines = [self._ruler(cells, shown, gutter)]
        lines += [self._line(cells, row, shown, gutter) for row in range(first_row, min(counts[0], first_row + rows))]
        return Text("\n").join(lines)

    def _gutter(self) -> int:
        """Columns of the labels."""
        if self._cells is None:
            return 0
        return min(_LABEL, max((cell_len(self._label(token)) for token in self._cells.queries), default=0)) + 1

    def _width(self) -> int:
        """Columns of a cell: as many as there is room for."""
        keys = max(1, len(self._cells.keys) if self._cells is not None else 1)
        return max(_NARROW, min(_WIDE, (self.size.width - self._gutter()) // keys))

    def _label(self, token: Token) -> str:
        return f"{token.place} {self._screen.label(token)}"

    def _ruler(self, cells: Cells, shown: range, gutter: int) -> Text:
        """Names of the keys where there is room, else a number every so often."""
        width = self._width()
        if width >= _NAMED:
            names = (left(self._screen.fit(self._screen.label(cells.keys[place]), width - 1), width) for place in shown)
            return Text(" " * gutter + "".join(names), style="dim")
        line = [" "] * (len(shown) * width + gutter)
        for place in shown:
            number = str(place if cells.keys[place].place is None else cells.keys[place].place)
            if place % _EVERY == 0:
                at = gutter + (place - shown.start) * width
                line[at : at + len(number)] = number
        return Text("".join(line)[: self.size.width], style="dim")

    def _line(self, cells: Cells, row: int, shown: range, gutter: int) -> Text:
        here = row == self._cursor[0]
        label = left(self._screen.fit(self._label(cells.queries[row]), gutter - 1), gutter)
        meaningless = bool(cells.meaningless[row])
        line = Text(label, style="bold" if here else "dim" if meaningless else "")
        span = slice(shown.start, shown.stop)
        if cells.levels is None:
            drawn = self._mask_cells(cells.codes[row, span].tolist(), meaningless)
        else:
            blocked = cells.codes[row, span] != 0
            drawn = heat_cells(cells.levels[row, span], blocked, meaningless, self._screen, self._width())
        if here:
            drawn = self._with_cursor(drawn, self._cursor[1] - shown.start)
        return line.append_text(drawn)

    def _mask_cells(self, codes: list[int], meaningless: bool) -> Text:
        line, width = Text(), self._width()
        for code in codes:
            swatch = MEANINGLESS if meaningless and code == 0 else swatch_of(code)
            mark = self._screen.mark(swatch)
            ink = MEANINGLESS.ink if meaningless else swatch.ink
            line.append(mark * width if swatch is VISIBLE else mark.ljust(width), style=ink)
        return line

    def _with_cursor(self, drawn: Text, place: int) -> Text:
        width = self._width()
        at = place * width
        ends = "[]" if self._screen.ascii_only else "▐▌"
        mark = (f"{ends[0]}{' ' * (width - 2)}{ends[1]}", "bold reverse")
        return Text.assemble(drawn[:at], mark, drawn[at + width :])
