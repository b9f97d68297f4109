"""A map with a cursor that the arrow keys and the mouse move."""

from __future__ import annotations

from typing import ClassVar

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.message import Message
from textual.widget import Widget

from maskviz.explore.viewport import start_of
from maskviz.render.terminal.screen import Screen


class Walkable(Widget, can_focus=True):
    """A map below a line of names; it says where the reader wants to go, and is told where they are."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "walk(-1,0)", show=False),
        Binding("down", "walk(1,0)", show=False),
        Binding("left", "walk(0,-1)", show=False),
        Binding("right", "walk(0,1)", show=False),
        Binding("pageup", "walk(-10,0)", show=False),
        Binding("pagedown", "walk(10,0)", show=False),
        Binding("home", "walk(0,-1000000)", show=False),
        Binding("end", "walk(0,1000000)", show=False),
    ]

    class Walked(Message):
        """The reader wants to go so many places down and across on a map."""

        def __init__(self, walkable: Walkable, down: int, across: int) -> None:
            super().__init__()
            self.walkable, self.down, self.across = walkable, down, across

    def __init__(self, screen: Screen, id: str) -> None:
        """Show nothing yet on a terminal that can show what `screen` says."""
        super().__init__(id=id)
        self._screen = screen
        self._cursor = (0, 0)
        self._first = (0, 0)
        self._cued = False

    @property
    def name_width(self) -> int:
        """Columns of the names beside the map."""
        raise NotImplementedError

    @property
    def cell(self) -> int:
        """Columns of a place."""
        raise NotImplementedError

    def action_walk(self, down: int, across: int) -> None:
        """Ask to go to another place."""
        self.post_message(self.Walked(self, down, across))

    def on_click(self, event: Click) -> None:
        """Ask to go to the place that was clicked."""
        row, column = event.y - 1, (event.x - self.name_width) // self.cell
        if row >= 0 and column >= 0:
            self.action_walk(self._first[0] + row - self._cursor[0], self._first[1] + column - self._cursor[1])

    def in_view(self, counts: tuple[int, int]) -> tuple[range, range]:
        """The rows and the columns around the cursor that there is room for, of so many down and across."""
        down, across = self.size.height - 1, max(1, (self.size.width - self.name_width) // self.cell)
        self._cued = (down < counts[0] or across < counts[1]) and down > 1
        room = max(1, down - self._cued), across
        first = tuple(start_of(self._cursor[axis], counts[axis], room[axis], self._first[axis]) for axis in (0, 1))
        self._first = first[0], first[1]
        rows, columns = (range(first[axis], min(counts[axis], first[axis] + room[axis])) for axis in (0, 1))
        return rows, columns

    def cue(self, rows: range, columns: range, counts: tuple[int, int]) -> list[Text]:
        """A line that says where the map goes on, of so many rows and columns; none where all of it is shown."""
        if not self._cued:
            return []
        signs = "^v<>" if self._screen.ascii_only else "↑↓←→"
        hidden = (rows.start, counts[0] - rows.stop, columns.start, counts[1] - columns.stop)
        said = " ".join(f"{sign}{count}" for sign, count in zip(signs, hidden, strict=True) if count > 0)
        return [Text(f"{said} more", style="italic")]

    @property
    def cursor_mark(self) -> str:
        """What stands in the place under the cursor."""
        ends = "[]" if self._screen.ascii_only else "▐▌"
        return f"{ends[0]}{' ' * (self.cell - 2)}{ends[1]}"
