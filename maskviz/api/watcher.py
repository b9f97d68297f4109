"""Who is told how a long answer goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol


class Watcher(Protocol):
    """Somebody who watches: a terminal, or nobody."""

    def progress(self, text: str) -> None:
        """A line on what is being done."""

    def say(self, text: str) -> None:
        """A line that is worth reading."""

    def say_releases(self) -> None:
        """A line where a library that runs models is newer than any that was tested."""

    def counting(self, what: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        """A bar of progress; gives what is to be called with each number of things done."""


class _Nobody:
    def progress(self, text: str) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def say_releases(self) -> None:
        pass

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        del what, total
        yield lambda _: None


# Where Python asks, what comes back says it all.
NOBODY: Watcher = _Nobody()
