"""What is read and what is written: texts, ids, saved runs and masks in their place; answers by suffix."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from maskviz.cli.env import Env
from maskviz.cli.groups import Typed
from maskviz.core.drawing import Drawing
from maskviz.core.errors import UsageError
from maskviz.core.words import Backend
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
            raise UsageError(f"--attn {name[:60]!r} is no attention backend", f"there are {known}") from error
    return tuple(found)


MASK_SUFFIXES = (".npy", ".pt", ".safetensors")


def saved_run(typed: Typed, texts: list[str] | None, beside: frozenset[str]) -> Path | None:
    """The saved run that is named in place of a text.

    Args:
        typed: What of the command was typed.
        texts: Its texts.
        beside: Names of the parameters that go with a saved run.

    Raises:
        UsageError: something of how a run is made is given with it.
    """
    return _in_place(typed, texts, (".npz",), beside, ("a saved run", "name the run alone", "it is as it was saved"))


def mask_in_place(typed: Typed, texts: list[str] | None, beside: frozenset[str]) -> Path | None:
    """The mask file that is named in place of a text; the rest is as of a saved run."""
    words = ("a mask file alone", "name the file alone", "with -m, texts and --mask a model is run with it")
    return _in_place(typed, texts, MASK_SUFFIXES, beside, words)


def _in_place(
    typed: Typed,
    texts: list[str] | None,
    suffixes: tuple[str, ...],
    beside: frozenset[str],
    words: tuple[str, str, str],
) -> Path | None:
    """The file with one of these suffixes; `words` say what it is and what to do where something else is given too."""
    if not texts or not any(text.endswith(suffixes) for text in texts):
        return None
    what, alone, hint = words
    if len(texts) > 1:
        raise UsageError(f"{what} and other texts are given together", alone)
    other = typed.besides(beside)
    if other is not None:
        raise UsageError(f"--{other.replace('_', '-')} does not go with {what}", hint)
    return Path(texts[0])


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
