"""Where answers go: the terminal, or files by their suffix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from maskviz.cli.env import Env
from maskviz.core.drawing import Drawing
from maskviz.core.errors import UsageError
from maskviz.store.files import check_writable, write_whole

if TYPE_CHECKING:
    from maskviz.api.answer import Answer
    from maskviz.core.panels.page import Page

DRAWN = (".png", ".svg", ".pdf", ".txt")


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


def deliver(env: Env, answer: Answer, paths: list[Path], drawing: Drawing) -> None:
    """Write an answer to every file, or its page to the terminal where no file is named; of several processes the first
    does.

    Args:
        env: The world outside.
        answer: What to draw.
        paths: Files, as `checked` returned them.
        drawing: How pictures are drawn.
    """
    from maskviz.api.answer import content_of

    if not env.leads:
        return
    page = answer.page()
    if not paths:
        show(env, page)
        return
    # What cannot be written is said before any file is.
    contents = {path: content_of(answer, path, drawing, env.command, page) for path in paths}
    for path, content in contents.items():
        write_whole(path, content)
        env.say(f"wrote {path}")


def show(env: Env, page: Page) -> None:
    """Print a page in the terminal."""
    from maskviz.render.terminal.page import render

    render(page, env.console(), env.lines())
    env.stdout.flush()


def deliver_page(env: Env, page: Page, paths: list[Path], drawing: Drawing) -> None:
    """Write a page that is no answer, such as a list of what there is."""
    from maskviz.api.answer import drawn

    if not paths:
        show(env, page)
    for path in paths:
        write_whole(path, drawn(page, path.suffix.lower(), drawing, env.command))
        env.say(f"wrote {path}")


def print_out(env: Env, text: str) -> None:
    """Write data or code to standard output, as it is.

    Raises:
        NotFoundError: it cannot be written there.
    """
    env.stdout.write(text)
    env.stdout.flush()
