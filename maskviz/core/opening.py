"""Files of tensors that somebody hands in, opened by their suffix; what is wrong with one is said in a line."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from maskviz.core.errors import NotFoundError, UsageError

_MOST_BYTES = 2**31
Content = TypeVar("Content")


@dataclass(frozen=True, slots=True)
class Opener(Generic[Content]):
    """How files of one kind are opened.

    Attributes:
        what: What the files hold, such as "mask".
        readers: What reads a file, by its suffix in lower case.
        hint: What to give instead of a file that cannot be read.
        plainly: How to save what needs code to be opened.
        damaged: What readers raise, besides Python's own errors, where a file is damaged.
    """

    what: str
    readers: Mapping[str, Callable[[Path], Content]]
    hint: str
    plainly: str
    damaged: tuple[type[Exception], ...]

    def open(self, path: Path) -> Content:
        """What a file holds.

        Raises:
            UsageError: another suffix.
            NotFoundError: the file is missing, damaged or too large, or needs code to be opened.
        """
        reader, named = self.readers.get(path.suffix.lower()), f"{self.what} file {str(path)!r}"
        if reader is None:
            suffixes = " ".join(sorted(self.readers))
            raise UsageError(f"cannot tell the format of {self.what} {str(path)!r}", f"end it in one of {suffixes}")
        if not _usable(path):
            raise NotFoundError(f"{named} does not exist, is no file, or has more than 2 GB", self.hint)
        broken: tuple[type[Exception], ...] = (
            OSError,
            EOFError,
            ValueError,
            TypeError,
            KeyError,
            RuntimeError,
            MemoryError,
            *self.damaged,
        )
        try:
            return reader(path)
        except pickle.UnpicklingError as error:
            raise NotFoundError(f"{named} is damaged, or needs code to be opened: not loaded", self.plainly) from error
        except broken as error:  # a RecursionError is a RuntimeError
            raise NotFoundError(f"{named} cannot be read: {first_line(error)}", self.hint) from error


def first_line(error: Exception) -> str:
    """What an error says, cut to a line."""
    return (str(error).splitlines() or [""])[0][:120] or type(error).__name__


def _usable(path: Path) -> bool:
    try:
        return path.is_file() and path.stat().st_size <= _MOST_BYTES
    except (OSError, ValueError):
        return False
