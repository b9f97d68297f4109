"""The keys in the last line: those that do something here, none of them cut."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from rich.text import Text
from textual.events import Click, Resize
from textual.widgets import Static

Key = tuple[str, str]  # what is pressed, what it does
_GAP = "  "
_NAMES = {"[": "left_square_bracket", "]": "right_square_bracket", ",": "comma", ".": "full_stop", "?": "question_mark"}


class KeyLine(Static):
    """As many keys as there is room for, the most useful first."""

    def __init__(self, id: str) -> None:
        """Show nothing yet."""
        super().__init__("", id=id)
        self._keys: Sequence[Key] = ()

    def show(self, keys: Sequence[Key]) -> None:
        """Show these keys; those at the end are left out where there is no room."""
        self._keys = keys
        self.update(key_text(keys, self.size.width))

    def on_resize(self, event: Resize) -> None:
        """Use the new width."""
        self.update(key_text(self._keys, event.size.width))

    def on_click(self, event: Click) -> None:
        """Press the key that was clicked: of two, the one below the pointer."""
        start = 0
        for key, does in self._keys:
            end = start + cell_len(f"{key} {does}")
            if start <= event.x < end:
                pressed = key if " " not in key else key.split()[0 if event.x == start else -1]
                self.app.simulate_key(_NAMES.get(pressed, pressed))
            start = end + len(_GAP)


def key_text(keys: Sequence[Key], width: int) -> Text:
    """The first keys that fit into so many columns, each whole."""
    line = Text(no_wrap=True)
    for key, does in keys:
        gap = _GAP if line else ""
        if line.cell_len + cell_len(f"{gap}{key} {does}") > width:
            break
        line.append(gap).append(key, style="bold").append(f" {does}", style="dim")
    return line
