"""Layers down and heads across, one head under the cursor, silenced ones marked."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.message import Message
from textual.widget import Widget

from maskviz.core.arrays import FloatArray
from maskviz.core.words import Scale
from maskviz.explore.viewport import start_of
from maskviz.render.palette import GATE_INK, level
from maskviz.render.screen import Screen
from maskviz.render.terminal_grid import heat_cells

_CELL = 2
_GUTTER = 4  # columns of the layer's number
Places = frozenset[tuple[int, int]]


class HeadMap(Widget, can_focus=True):
    """A number for each head, as a map that can be walked with the arrow keys."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "walk(-1,0)", "layer", show=False),
        Binding("down", "walk(1,0)", "layer", show=False),
        Binding("left", "walk(0,-1)", "head", show=False),
        Binding("right", "walk(0,1)", "head", show=False),
        Binding("pageup", "walk(-10,0)", "10 layers", show=False),
        Binding("pagedown", "walk(10,0)", "10 layers", show=False),
    ]

    class Walked(Message):
        """The reader wants to go so many layers down and heads to the right."""

        def __init__(self, layer: int, head: int) -> None:
            super().__init__()
            self.layer, self.head = layer, head

    def __init__(self, screen: Screen, id: str) -> None:
        """Show nothing yet on a terminal that can show what `screen` says."""
        super().__init__(id=id)
        self._screen = screen
        self._values: FloatArray = np.zeros((0, 0), dtype=np.float32)
        self._names: tuple[str, ...] = ()
        self._silenced: Places = frozenset()
        self._cursor = (0, 0)
        self._first = (0, 0)

    def show(self, values: FloatArray, names: tuple[str, ...], silenced: Places, cursor: tuple[int, int]) -> None:
        """Draw a number for each head.

        Args:
            values: float32 [row, head], NaN where there is nothing.
            names: Names of the rows.
            silenced: (row, head) of the heads that are off.
            cursor: Row and head under the cursor.
        """
        self._values, self._names, self._silenced, self._cursor = values, names, silenced, cursor
        self.refresh()

    def action_walk(self, layer: int, head: int) -> None:
        """Ask to go to another head."""
        self.post_message(self.Walked(layer, head))

    def on_click(self, event: Click) -> None:
        """Ask to go to the head that was clicked."""
        row, column = event.y - 1, (event.x - _GUTTER) // _CELL
        if row >= 0 and column >= 0:
            self.action_walk(self._first[0] + row - self._cursor[0], self._first[1] + column - self._cursor[1])

    def render(self) -> Text:
        """The part of the map around the cursor that there is room for."""
        rows, columns = max(1, self.size.height - 1), max(1, (self.size.width - _GUTTER) // _CELL)
        counts = self._values.shape
        first_row = start_of(self._cursor[0], counts[0], rows, self._first[0])
        first_column = start_of(self._cursor[1], counts[1], columns, self._first[1])
        self._first = first_row, first_column
        shown = range(first_column, min(counts[1], first_column + columns))
        top = float(np.nanmax(self._values)) if np.isfinite(self._values).any() else 1.0
        levels = level(self._values, Scale.LINEAR, top or 1.0, 1e-4)
        header = "".join(str(head).ljust(_CELL)[:_CELL] if head % 2 == 0 or head < 10 else "  " for head in shown)
        lines = [Text(" " * _GUTTER + header, style="dim")]
        for row in range(first_row, min(counts[0], first_row + rows)):
            cells = levels[row, shown.start : shown.stop]
            missing = np.isnan(cells)
            drawn = heat_cells(np.where(missing, 0.0, cells), missing, False, self._screen, _CELL)
            style = "bold" if row == self._cursor[0] else ""
            line = Text(self._names[row].ljust(_GUTTER)[:_GUTTER], style=style)
            lines.append(line.append_text(self._marked(drawn, row, shown)))
        return Text("\n").join(lines)

    def _marked(self, drawn: Text, row: int, shown: range) -> Text:
        """A row of heads with those that are off and the one under the cursor marked."""
        cut = "x " if self._screen.ascii_only else "✂ "
        for place, head in enumerate(shown):
            at, off, here = place * _CELL, (row, head) in self._silenced, (row, head) == self._cursor
            if not off and not here:
                continue
            mark = (cut if off else "[]" if self._screen.ascii_only else "▐▌", "bold reverse" if here else GATE_INK)
            drawn = Text.assemble(drawn[:at], mark, drawn[at + _CELL :])
        return drawn
