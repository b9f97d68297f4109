"""Layers down and heads across, one head under the cursor, silenced ones marked."""

from __future__ import annotations

import numpy as np
from rich.text import Text

from maskviz.core.arrays import FloatArray
from maskviz.core.words import Scale
from maskviz.explore.walkable import Walkable
from maskviz.render.palette import GATE_INK, level
from maskviz.render.terminal.pictures import heat_cells
from maskviz.render.terminal.screen import Screen

Places = frozenset[tuple[int, int]]


class HeadMap(Walkable):
    """A number for each head, as a map."""

    name_width, cell = 4, 2

    def __init__(self, screen: Screen, id: str) -> None:
        """Show nothing yet on a terminal that can show what `screen` says."""
        super().__init__(screen, id)
        self._values: FloatArray = np.zeros((0, 0), dtype=np.float32)
        self._names: tuple[str, ...] = ()
        self._silenced: Places = frozenset()

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

    def render(self) -> Text:
        """The part of the map around the cursor that there is room for."""
        counts = (len(self._names), self._values.shape[1])
        rows, shown = self.in_view(counts)
        top = float(np.nanmax(self._values)) if np.isfinite(self._values).any() else 1.0
        levels = level(self._values, Scale.LINEAR, top or 1.0, 1e-4)
        header = "".join(
            str(head).ljust(self.cell)[: self.cell] if head % 2 == 0 or head < 10 else "  " for head in shown
        )
        lines = [Text(" " * self.name_width + header, style="dim")]
        for row in rows:
            cells = levels[row, shown.start : shown.stop]
            missing = np.isnan(cells)
            drawn = heat_cells(np.where(missing, 0.0, cells), missing, False, self._screen, self.cell)
            style = "bold" if row == self._cursor[0] else ""
            line = Text(self._names[row].ljust(self.name_width)[: self.name_width], style=style)
            lines.append(line.append_text(self._marked(drawn, row, shown)))
        return Text("\n").join([*lines, *self.cue(rows, shown, counts)])

    def _marked(self, drawn: Text, row: int, shown: range) -> Text:
        """A row of heads with those that are off and the one under the cursor marked."""
        cut = "x " if self._screen.ascii_only else "✂ "
        for place, head in enumerate(shown):
            at, off, here = place * self.cell, (row, head) in self._silenced, (row, head) == self._cursor
            if not off and not here:
                continue
            mark = (cut if off else self.cursor_mark, "bold reverse" if here else GATE_INK)
            drawn = Text.assemble(drawn[:at], mark, drawn[at + self.cell :])
        return drawn
