"""An answer that can be looked at: in a notebook, in the terminal, as a file."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Page
from maskviz.store.files import check_writable, write_whole

if TYPE_CHECKING:
    from maskviz.render.image.page import ImageFormat

# Columns of a .txt file, as the command line writes it.
_TEXT_WIDTH = 100
_DRAWN: dict[str, ImageFormat] = {".png": "png", ".svg": "svg", ".pdf": "pdf"}


class Answer(ABC):
    """What comes back where something is asked."""

    __slots__ = ()

    @abstractmethod
    def page(self) -> Page:
        """The page that the command line prints."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The answer as plain values, as `.json` holds them."""

    @abstractmethod
    def data(self, suffix: str) -> bytes | None:
        """The answer in a format that holds data, by its suffix; None for any other."""

    def show(self) -> None:
        """Print the page in the terminal, or below a notebook's cell."""
        from maskviz.render.terminal.page import to_screen

        to_screen(self.page())

    def save(self, path: str | os.PathLike[str], *, dpi: int = 150) -> Path:
        """Write the answer to a file, whole or not at all, by the suffixes that `-o` takes.

        Args:
            path: The file.
            dpi: Device pixels per inch of a .png.

        Returns:
            The path.

        Raises:
            UsageError: another suffix.
            NotFoundError: it cannot be written there.
        """
        place = Path(path)
        content = self._content(place, dpi)
        check_writable(place)
        write_whole(place, content)
        return place

    def _content(self, place: Path, dpi: int) -> bytes:
        suffix = place.suffix.lower()
        content = self.data(suffix)
        if content is not None:
            return content
        if suffix == ".txt":
            from maskviz.render.terminal.page import plain_text

            return plain_text(self.page(), _TEXT_WIDTH).encode()
        if suffix in _DRAWN:
            from maskviz.render.image.page import image_bytes

            return image_bytes(self.page(), _DRAWN[suffix], dpi=dpi)
        raise UsageError(f"cannot tell the format of {str(place)!r}", "end it in .json, .txt, .png, .svg or .pdf")

    def _repr_png_(self) -> bytes:
        from maskviz.render.image.page import image_bytes

        return image_bytes(self.page(), "png", dpi=100)
