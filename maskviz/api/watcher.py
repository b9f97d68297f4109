"""Who is told how a long answer goes on."""

from __future__ import annotations

from typing import Protocol


class Watcher(Protocol):
    """Somebody who watches: a terminal, or nobody."""

    def progress(self, text: str) -> None:
        """A line on what is being done."""

    def say(self, text: str) -> None:
        """A line that is worth reading."""

    def say_releases(self) -> None:
        """A line where a library that runs models is newer than any that was tested."""


class _Nobody:
    def progress(self, text: str) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def say_releases(self) -> None:
        pass


# Where Python asks, what comes back says it all.
NOBODY: Watcher = _Nobody()
