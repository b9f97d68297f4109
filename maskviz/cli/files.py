"""What is read and what is written: texts, ids, saved runs and masks in their place; answers by suffix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from maskviz.cli.env import Env
from maskviz.core.drawing import Drawing
from maskviz.core.errors import UsageError
from maskviz.core.words import Backend
from maskviz.core.writing import nearest
from maskviz.store.files import check_writable, write_whole
from maskviz.store.reading import bytes_of, decoded

if TYPE_CHECKING:
    from maskviz.api.answer import Answer
    from maskviz.core.panels.page import Page


def read_texts(
    env: Env,
    texts: list[str] | None,
    file: Path | None,
    ids: list[str] | None,
    images: list[Path] | None = None,
    inputs: Path | None = None,
) -> tuple[str, ...]:
    """The texts of the arguments, of standard input for "-", and of a file, one per line; none where inputs are given.

    Raises:
        UsageError: nothing is given at all, or a file of texts beside inputs.
        NotFoundError: the file is missing or not UTF-8.
    """
    if inputs is not None and file is not None:
        raise UsageError("--inputs and --file are given together", "inputs are passed on as they are")
    if (texts or []).count("-") > 1:
        raise UsageError("'-' is given twice", "standard input can be read once")
    found = [env.read_text().rstrip("\n") if text == "-" else text for text in texts or ()]
    if file is not None:
        lines = decoded(bytes_of(file, "file"), str(file)).splitlines()
        found += [line for line in lines if line.strip()]
        if not found:
            raise UsageError(f"file {str(file)!r} has no text", "write one text per line")
    if not found and not ids and images:
        raise UsageError(
            "there is no text beside --image",
            "give one, for a model that reads both; models that read images alone are not shown yet",
        )
    if not found and not ids and inputs is None:
        raise UsageError("there is no text", 'give one, such as "some text", or - for standard input')
    return tuple(found)


def parse_ids(rows: list[str] | None, option: str) -> tuple[tuple[int, ...], ...]:
    """Rows of ids such as "5 17 3"; commas will do as well.

    Raises:
        UsageError: something in them is no number.
    """
    parsed = []
    for row in rows or ():
        try:
            parsed.append(tuple(int(word) for word in row.replace(",", " ").split()))
        except ValueError as error:
            raise UsageError(f"{option} {row[:60]!r}: not all of it are ids", f'write {option} "5 17 3"') from error
    return tuple(parsed)


def parse_backends(values: list[str] | None) -> tuple[Backend, ...]:
    """Attention backends as they were typed, `A,B` or one option for each, each once and in that order.

    Raises:
        UsageError: one of them is none.
    """
    known = ", ".join(Backend)
    found: dict[Backend, None] = {}
    for name in (name.strip() for value in values or () for name in value.split(",")):
        try:
            found[Backend(name)] = None
        except ValueError as error:
            hint = f"{nearest(name, Backend)} there are {known}".strip()
            raise UsageError(f"--attn {name[:60]!r} is no attention backend", hint) from error
    return tuple(found)


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


def deliver(env: Env, answer: Answer, paths: list[Path], drawing: Drawing, *, glanced: bool = True) -> None:
    """Write an answer to every file, or its page to the terminal where no file is named; of several processes the first
    does.

    Args:
        env: The world outside.
        answer: What to draw.
        paths: Files, as `checked` returned them.
        drawing: How pictures are drawn.
        glanced: Whether a few lines are said of what went into files.
    """
    from maskviz.api.answer import content_of
    from maskviz.view.glance import glance

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
        env.wrote(path)
    for line in glance(page) if glanced and not env.quiet else ():
        env.say(line)


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
        env.wrote(path)


def print_out(env: Env, text: str) -> None:
    """Write data or code to standard output, as it is.

    Raises:
        NotFoundError: it cannot be written there.
    """
    env.stdout.write(text)
    env.stdout.flush()
