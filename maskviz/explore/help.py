"""What the keys do."""

from __future__ import annotations

from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual.widgets import Static

_KEYS = """\
arrow keys   walk over the map, or over the heads
PageUp/Down  walk ten at a time; Home and End: first and last key
Tab          between the map and the heads
[ ]          layer up or down
, .          head to the left or right
s            next stack: encoder, decoder, cross
t            next text of the batch
m            the mask, or attention again
l            logarithmic scale, or linear again
space        switch the head off or on: the model runs again
b            the run before heads were switched off, or after
r            all heads on
g            the head as a picture
n            the next head that stands out
q            quit"""


class HelpScreen(ModalScreen[None]):
    """A card of all keys; the usual keys close it."""

    CSS = """
    HelpScreen { align: center middle; }
    HelpScreen Static { width: auto; height: auto; padding: 1 2; background: $panel; border: round $primary; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,question_mark,q,enter,space", "dismiss", "back")]

    def compose(self) -> ComposeResult:
        """The card alone."""
        yield Static(_KEYS, markup=False)
