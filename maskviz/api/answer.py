"""An answer that can be looked at: in a notebook, in the terminal, as a file."""

from __future__ import annotations

import json
import os
import shutil
from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from maskviz.core.drawing import Drawing
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Page
from maskviz.core.words import Style
from maskviz.core.writing import printable
from maskviz.store.files import check_writable, write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from maskviz.render.image.page import ImageFormat, Layout

# Columns of a .txt file: a file has no terminal to fit, and 100 columns print on a page.
_TEXT_WIDTH = 100
_IMAGES: dict[str, ImageFormat] = {".png": "png", ".svg": "svg", ".pdf": "pdf"}
DRAWN = (*_IMAGES, ".txt")


class Answer(ABC):
    """What comes back where something is asked.

    Attributes:
        DATA: Suffixes of files that hold the answer as data.
    """

    __slots__ = ()
    DATA: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def page(self) -> Page:
        """The page that the command line prints."""

    @abstractmethod
    def to_dict(self) -> dict[str, Any]:
        """The answer as plain values."""

    def data(self, suffix: str, command: str = "") -> bytes:
        """The answer as data.

        Args:
            suffix: One of `DATA`.
            command: The command line it is an answer to, for the file's own record.
        """
        raise NotImplementedError(suffix)

    def show(self) -> None:
        """Print the page in the terminal, or below a notebook's cell."""
        from maskviz.render.terminal.page import to_screen

        to_screen(self.page())

    def save(
        self, path: str | os.PathLike[str], *, dpi: int = 150, style: str = Style.SCREEN, columns: int | None = None
    ) -> Path:
        """Write the answer to a file, whole or not at all, by the suffixes that `-o` takes.

        Args:
            path: The file.
            dpi, style, columns: How a picture is drawn, see `Drawing`.

        Returns:
            The path.

        Raises:
            UsageError: another suffix.
            NotFoundError: it cannot be written there.
        """
        place, drawing = Path(path), Drawing.of(dpi, style, columns)
        content = content_of(self, place, drawing)
        check_writable(place)
        write_whole(place, content)
        return place

    def figure(self, *, dpi: int = 150, style: str = Style.SCREEN, columns: int | None = None) -> Figure:
        """The picture `save("x.png")` writes, as a matplotlib Figure, of which pyplot knows nothing."""
        from maskviz.render.image.page import figure

        drawing = Drawing.of(dpi, style, columns)
        page, layout = laid_out(self.page(), drawing)
        return figure(page, dpi=drawing.dpi, layout=layout)

    def __str__(self) -> str:
        """What the command line prints, in as many columns as the terminal has."""
        from maskviz.render.terminal.page import plain_text

        return plain_text(self.page(), shutil.get_terminal_size().columns).rstrip("\n")

    def __repr__(self) -> str:
        page = self.page()
        return f"<{type(self).__name__}: {page.title}>"

    def _repr_png_(self) -> bytes:
        return content_of(self, Path("picture.png"), Drawing(dpi=100))


def content_of(answer: Answer, path: Path, drawing: Drawing, command: str = "", page: Page | None = None) -> bytes:
    """An answer as a file holds it, by the file's suffix.

    Args:
        answer: The answer.
        path: The file, which is not touched.
        drawing: How it is drawn.
        command: The command line it is an answer to, for the file's own record.
        page: Its page, where it is at hand.

    Raises:
        UsageError: another suffix.
    """
    suffix = path.suffix.lower()
    if suffix in answer.DATA:
        return answer.data(suffix, command)
    if suffix not in DRAWN:
        known = " ".join((*answer.DATA, *DRAWN))
        raise UsageError(f"cannot tell the format of {str(path)!r}", f"end it in one of {known}")
    return drawn(answer.page() if page is None else page, suffix, drawing, command)


def drawn(page: Page, suffix: str, drawing: Drawing, command: str = "") -> bytes:
    """A page as one of the formats in `DRAWN`."""
    if suffix == ".txt":
        from maskviz.render.terminal.page import plain_text

        return plain_text(page, _TEXT_WIDTH).encode()
    from maskviz.render.image.page import image_bytes

    page, layout = laid_out(asked_by(page, command), drawing)
    return image_bytes(page, _IMAGES[suffix], dpi=drawing.dpi, layout=layout)


def laid_out(page: Page, drawing: Drawing) -> tuple[Page, Layout]:
    """What of a page is drawn, and how wide."""
    from maskviz.render.image.page import layout_of
    from maskviz.view.paper import for_paper

    layout = layout_of(drawing.style, drawing.columns)
    return (for_paper(page) if drawing.style is Style.PAPER else page), layout


def asked_by(page: Page, command: str) -> Page:
    """A page with the command line it answers among its facts, where there is one."""
    return replace(page, facts={**page.facts, "command": printable(command)}) if command else page


def read_back(content: bytes) -> dict[str, Any]:
    """The plain values a .json holds, but for the command line."""
    found: dict[str, Any] = json.loads(content)
    return found
