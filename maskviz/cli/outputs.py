"""Where results go: the terminal, or files by their suffix."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from maskviz.cli.env import Env
from maskviz.core.errors import UsageError
from maskviz.core.words import Style
from maskviz.store.files import check_writable, write_whole

if TYPE_CHECKING:
    from maskviz.core.panels.page import Page

DRAWN = (".png", ".svg", ".pdf", ".txt")
# Columns of a .txt file: a file has no terminal to fit, and 100 columns print on a page.
_TEXT_WIDTH = 100

DataWriter = Callable[[], bytes]


def checked(paths: list[Path] | None, data_suffixes: tuple[str, ...], read: Path | None = None) -> list[Path]:
    """Make sure every file has a known suffix and can be written, before a model is loaded for it.

    Args:
        paths: Files to write.
        data_suffixes: Suffixes that hold data and no picture.
        read: The file that is read, which is not to be written over.

    Raises:
        UsageError: an unknown suffix, a file named twice, or the one that is read.
        NotFoundError: a place that cannot be written.
    """
    paths = paths or []
    known = (*DRAWN, *data_suffixes)
    for path in paths:
        if path.suffix.lower() == ".html" and ".html" not in known:
            raise UsageError(f"{str(path)!r}: only show and view write a report", f"end it in one of {' '.join(known)}")
        if path.suffix.lower() not in known:
            raise UsageError(f"cannot tell the format of {str(path)!r}", f"end it in one of {' '.join(known)}")
        if read is not None and path.resolve() == read.resolve():
            raise UsageError(f"{str(path)!r} is the file that is read", "give -o another name")
        check_writable(path)
    if len({path.absolute() for path in map(Path, map(os.path.normpath, paths))}) < len(paths):
        raise UsageError("an output file is named twice", "give each -o a name of its own")
    return paths


@dataclass(frozen=True, slots=True)
class Drawing:
    """How pictures in files are drawn.

    Attributes:
        dpi: Resolution of PNG files.
        style: What they are for.
        columns: Columns of a paper they take, None for one; of the paper's style alone.
    """

    dpi: int = 150
    style: Style = Style.SCREEN
    columns: int | None = None

    def __post_init__(self) -> None:
        if self.columns is not None and self.style is not Style.PAPER:
            raise UsageError(f"--columns {self.columns} is of --style paper", "add --style paper")


def deliver(
    env: Env, page: Page, paths: list[Path], drawing: Drawing, data: Mapping[str, DataWriter] | None = None
) -> None:
    """Write the page to every file, or to the terminal where no file is named; of several processes the first does.

    Args:
        env: The world outside.
        page: What to draw.
        paths: Files, as `checked` returned them.
        drawing: How pictures are drawn.
        data: What writes the suffixes that hold data and no picture.
    """
    if not env.leads:
        return
    if not paths:
        from maskviz.render.terminal.page import render

        render(page, env.console(), env.lines())
        env.stdout.flush()
        return
    contents = {path: _content(page, path, drawing, data or {}) for path in paths}
    for path, content in contents.items():
        write_whole(path, content)
        env.say(f"wrote {path}")


def print_out(env: Env, text: str) -> None:
    """Write data or code to standard output, as it is.

    Raises:
        NotFoundError: it cannot be written there.
    """
    env.stdout.write(text)
    env.stdout.flush()


def _content(page: Page, path: Path, drawing: Drawing, data: Mapping[str, DataWriter]) -> bytes:
    suffix = path.suffix.lower()
    if suffix in data:
        return data[suffix]()
    if suffix == ".txt":
        from maskviz.render.terminal.page import plain_text

        return plain_text(page, _TEXT_WIDTH).encode()
    from maskviz.render.image.page import image_bytes, layout_of
    from maskviz.view.paper import for_paper

    layout = layout_of(drawing.style, drawing.columns)
    if drawing.style is Style.PAPER:
        page = for_paper(page)
    match suffix:
        case ".svg":
            return image_bytes(page, "svg", dpi=drawing.dpi, layout=layout)
        case ".pdf":
            return image_bytes(page, "pdf", dpi=drawing.dpi, layout=layout)
    return image_bytes(page, "png", dpi=drawing.dpi, layout=layout)
