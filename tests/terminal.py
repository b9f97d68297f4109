"""A real pseudo-terminal with a program in it, and what its screen shows."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

import pexpect
import pyte

# Variables of the machine that say what a terminal can show.
_ABOUT_TERMINALS = ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES", "COLORTERM", "TERM_PROGRAM", "TMUX", "CI")
PATIENCE = 60.0  # seconds; a slow machine imports torch meanwhile


class Terminal:
    """`python -m maskviz` in a pseudo-terminal; a with-block that ends it."""

    def __init__(
        self,
        *arguments: str,
        size: tuple[int, int] = (40, 110),
        environment: Mapping[str, str] | None = None,
        answers: Mapping[bytes, bytes] | None = None,
        stderr: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            *arguments: Of the command line.
            size: Lines and columns.
            environment: Variables beside a plain colour terminal's.
            answers: What the terminal answers when it is asked.
            stderr: The file standard error goes to; None for the terminal.
        """
        kept = {name: value for name, value in os.environ.items() if name not in _ABOUT_TERMINALS}
        own = {"TERM": "xterm-256color", "COLORTERM": "truecolor", **(environment or {})}
        self._screen = pyte.Screen(size[1], size[0])
        self._stream = pyte.ByteStream(self._screen)
        self._answers = dict(answers or {})
        self.raw = b""
        command = [sys.executable, "-m", "maskviz", *arguments]
        if stderr is not None:
            command = ["bash", "-c", 'log="$1"; shift; exec "$@" 2> "$log"', "bash", str(stderr), *command]
        self._child = pexpect.spawn(command[0], command[1:], dimensions=size, env={**kept, **own}, timeout=PATIENCE)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._child.close(force=True)

    @property
    def lines(self) -> Sequence[str]:
        """What the screen shows."""
        return [line.rstrip() for line in self._screen.display]

    @property
    def text(self) -> str:
        """What the screen shows, as one text."""
        return "\n".join(self.lines)

    def press(self, *keys: str, until: str) -> None:
        """Send keys, then wait for words on the screen."""
        for key in keys:
            self._child.send(key)
            self._read(0.02)
        self.wait(until)

    def wait(self, words: str) -> None:
        """Wait until the screen shows some words, or fail."""
        end = time.monotonic() + PATIENCE
        while words not in self.text:
            assert time.monotonic() < end, f"{words!r} did not appear:\n{self.text}"
            assert self._read(0.1), f"it ended before {words!r} appeared:\n{self.text}"

    def wait_gone(self, words: str) -> None:
        """Wait until the screen shows some words no longer, or fail."""
        end = time.monotonic() + PATIENCE
        while words in self.text:
            assert time.monotonic() < end, f"{words!r} stayed:\n{self.text}"
            assert self._read(0.1), f"it ended before {words!r} was gone"

    def writes(self, words: bytes, seconds: float) -> bool:
        """Whether some bytes are written within some seconds."""
        end = time.monotonic() + seconds
        while words not in self.raw and time.monotonic() < end and self._read(0.1):
            pass
        return words in self.raw

    def ends(self) -> int:
        """Wait for the program to end, and return its exit code."""
        end = time.monotonic() + PATIENCE
        while self._read(0.1):
            assert time.monotonic() < end, f"it did not end:\n{self.text}"
        self._child.wait()
        return int(self._child.exitstatus or 0)

    def _read(self, seconds: float) -> bool:
        """Read what has been written; False where the program has ended."""
        try:
            written: bytes = self._child.read_nonblocking(1 << 16, timeout=seconds)
        except pexpect.TIMEOUT:
            return True
        except pexpect.EOF:
            return False
        self.raw += written
        self._stream.feed(written)
        for question, answer in self._answers.items():
            if question in written:
                self._child.send(answer)
        return True
