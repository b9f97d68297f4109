"""A head as a picture, by the graphics the terminal has: Sixel, Kitty's protocol, or half blocks."""

from __future__ import annotations

import io
from typing import ClassVar

from PIL import Image as Pillow
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen
from textual_image.widget import Image

from maskviz.core.panels.page import Heatmap, Page
from maskviz.render.image.page import image_bytes


class PictureScreen(ModalScreen[None]):
    """One map as the picture that goes into files; any of its keys closes it."""

    CSS = """
    PictureScreen { align: center middle; }
    PictureScreen Image { width: auto; height: 95%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,g,q,enter,space", "dismiss", "back")]

    def __init__(self, panel: Heatmap) -> None:
        """Show a map."""
        super().__init__()
        page = Page("", "", (panel,))
        self._picture = Pillow.open(io.BytesIO(image_bytes(page, "png", dpi=110)))

    def compose(self) -> ComposeResult:
        """The picture alone."""
        yield Image(self._picture)
