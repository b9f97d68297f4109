"""The world outside, as one object that tests replace."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from typing import TextIO

from rich.console import Console

from maskviz.core.errors import ExitCode, NotFoundError, UsageError
from maskviz.core.printable import printable


class _Console(Console):
    """A console whose reader may leave early (maskviz ... | head) without that being an error."""

    def on_broken_pipe(self) -> None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(ExitCode.SHOWN)


@dataclass(slots=True)
class Env:
    """Standard streams and what the terminal can show.

    Attributes:
        stdin, stdout, stderr: The streams. Results go to stdout, everything else to stderr.
        width: Columns to draw for, or None for the terminal's (80 where there is none).
        height: Lines to draw for, or None for the terminal's (no limit where there is none).
        command: The command line as typed, for the metadata of files.
    """

    stdin: TextIO = field(default_factory=lambda: sys.stdin)
    stdout: TextIO = field(default_factory=lambda: sys.stdout)
    stderr: TextIO = field(default_factory=lambda: sys.stderr)
    width: int | None = None
    height: int | None = None
    command: str = ""

    def console(self) -> Console:
        """The console results are drawn on."""
        return _Console(file=self.stdout, width=self.width, markup=False, highlight=False, emoji=False)

    def lines(self) -> int | None:
        """Lines a picture should fit, None where nobody scrolls."""
        if self.height is not None:
            return self.height
        return self.console().size.height if self.stdout.isatty() else None

    def say(self, text: str) -> None:
        """Write a line of progress or advice to stderr."""
        self.stderr.write(f"{printable(text)}\n")
        self.stderr.flush()

    def progress(self, text: str) -> None:
        """Write a line of progress, where somebody watches."""
        if self.stderr.isatty():
            self.say(text)

    def read_text(self) -> str:
        """All of standard input.

        Raises:
            UsageError: standard input is a terminal, where nothing comes.
            NotFoundError: it is not UTF-8.
        """
        if self.stdin.isatty():
            raise UsageError("'-' reads standard input, and nothing is piped in", "cat text.txt | maskviz show -")
        buffer = getattr(self.stdin, "buffer", None)
        if buffer is None:
            return self.stdin.read()
        return decoded(buffer.read(), "standard input")


def decoded(raw: bytes, name: str) -> str:
    """UTF-8 bytes as text.

    Raises:
        NotFoundError: they are not UTF-8.
    """
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NotFoundError(
            f"{name} is not UTF-8 at byte {error.start}", "convert it, such as with iconv -t utf-8"
        ) from error
