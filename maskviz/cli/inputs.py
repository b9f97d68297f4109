"""Texts and ids from arguments, files and standard input."""

from __future__ import annotations

from pathlib import Path

from maskviz.cli.env import Env
from maskviz.core.errors import UsageError
from maskviz.core.words import Backend
from maskviz.store.reading import bytes_of, decoded


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
