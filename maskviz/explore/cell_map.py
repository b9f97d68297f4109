"""The map of one head, a cell of it under the cursor."""

from __future__ import annotations

from dataclasses import dataclass

from rich.cells import cell_len
from rich.text import Text

from maskviz.core.arrays import BoolArray, ByteArray
from maskviz.core.panels.page import Token
from maskviz.explore.walkable import Walkable
from maskviz.render.palette import MEANINGLESS, VISIBLE, Levels, swatch_of
from maskviz.render.terminal.pictures import heat_cells
from maskviz.render.terminal.screen import Screen, left

_NARROW, _WIDE, _NAMED = 2, 8, 4  # columns of a cell: the fewest, the most, and from which on keys have names
_LABEL = 14  # columns a token's label may take
_EVERY = 5  # keys from number to number in the ruler


@dataclass(frozen=True, slots=True, eq=False)
class CellView:
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


class CellMap(Walkable):
    """The cells of one head, each token labelled."""

    def __init__(self, screen: Screen, id: str) -> None:
        """Show nothing yet on a terminal that can show what `screen` says."""
        super().__init__(screen, id)
        self._cells: CellView | None = None

    def show(self, cells: CellView, cursor: tuple[int, int]) -> None:
        """Draw these cells, with the cursor on a query and a key."""
        self._cells, self._cursor = cells, cursor
        self.refresh()

    def render(self) -> Text:
        """The part of the map around the cursor that there is room for."""
        if self._cells is None:
            return Text("")
        cells = self._cells
        counts = (len(cells.queries), len(cells.keys))
        rows, columns = self.in_view(counts)
        lines = [self._line(cells, row, columns) for row in rows]
        return Text("\n").join([self._ruler(cells, columns), *lines, *self.cue(rows, columns, counts)])

    @property
    def name_width(self) -> int:
        """Columns of the labels."""
        if self._cells is None:
            return 0
        return min(_LABEL, max((cell_len(self._label(token)) for token in self._cells.queries), default=0)) + 1

    @property
    def cell(self) -> int:
        """Columns of a cell: as many as there is room for."""
        keys = max(1, len(self._cells.keys) if self._cells is not None else 1)
        return max(_NARROW, min(_WIDE, (self.size.width - self.name_width) // keys))

    def _label(self, token: Token) -> str:
        return f"{token.place} {self._screen.label(token)}"

    def _ruler(self, cells: CellView, shown: range) -> Text:
        """Names of the keys where there is room, else a number every so often."""
        width, name_width = self.cell, self.name_width
        if width >= _NAMED:
            names = (left(self._screen.fit(self._screen.label(cells.keys[place]), width - 1), width) for place in shown)
            return Text(" " * name_width + "".join(names), style="dim")
        line = [" "] * (len(shown) * width + name_width)
        for place in shown:
            number = str(place if cells.keys[place].place is None else cells.keys[place].place)
            if place % _EVERY == 0:
                at = name_width + (place - shown.start) * width
                line[at : at + len(number)] = number
        return Text("".join(line)[: self.size.width], style="dim")

    def _line(self, cells: CellView, row: int, shown: range) -> Text:
        here = row == self._cursor[0]
        label = left(self._screen.fit(self._label(cells.queries[row]), self.name_width - 1), self.name_width)
        meaningless = bool(cells.meaningless[row])
        line = Text(label, style="bold" if here else "dim" if meaningless else "")
        span = slice(shown.start, shown.stop)
        if cells.levels is None:
            drawn = self._mask_cells(cells.codes[row, span].tolist(), meaningless)
        else:
            blocked = cells.codes[row, span] != 0
            drawn = heat_cells(cells.levels[row, span], blocked, meaningless, self._screen, self.cell)
        if here:
            drawn = self._with_cursor(drawn, self._cursor[1] - shown.start)
        return line.append_text(drawn)

    def _mask_cells(self, codes: list[int], meaningless: bool) -> Text:
        line, width = Text(), self.cell
        for code in codes:
            swatch = MEANINGLESS if meaningless and code == 0 else swatch_of(code)
            mark = self._screen.mark(swatch)
            ink = MEANINGLESS.ink if meaningless else swatch.ink
            line.append(mark * width if swatch is VISIBLE else mark.ljust(width), style=ink)
        return line

    def _with_cursor(self, drawn: Text, place: int) -> Text:
        at = place * self.cell
        return Text.assemble(drawn[:at], (self.cursor_mark, "bold reverse"), drawn[at + self.cell :])
