"""One line on the terminal that says what is going on while nothing else is written, and is gone before anything is."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from time import monotonic

_FIRST = "maskviz: starting"
_CLEAR = b"\r\x1b[K"
_QUIET = 0.7  # seconds without a word after which the line says how long it has been
_TICK = 0.25


class Pulse:
    """The line; every other writer of this terminal asks it to be gone first.

    Where standard error is no terminal it writes nothing.
    """

    def __init__(self) -> None:
        self._watched = _is_watched()
        self._text, self._since, self._last = _FIRST, monotonic(), monotonic()
        self._drawn = False
        self._held, self._unfinished = 0, False
        self._lock = threading.RLock()

    def begin(self) -> None:
        """Write the first line, and go on saying how long it takes."""
        if self._watched:
            self._draw(self._text)
            threading.Thread(target=self._tick, daemon=True, name="pulse").start()

    def say(self, text: str) -> None:
        """Say what goes on from here."""
        with self._lock:
            self._text, self._since = text, monotonic()

    def gone(self, written: str | bytes = "") -> None:
        """Take the line off the terminal, for something that is written there.

        Args:
            written: What is; behind an unfinished line, such as a library's bar of progress, nothing is drawn.
        """
        with self._lock:
            if self._drawn:
                self._write(_CLEAR)
                self._drawn = False
            self._last = monotonic()
            if written:
                self._unfinished = written[-1:] not in ("\n", b"\n")

    @contextmanager
    def held(self) -> Iterator[None]:
        """Stay away while something else draws on the terminal."""
        self.gone()
        self._held += 1
        try:
            yield
        finally:
            self._held -= 1
            self.gone()

    def _tick(self) -> None:
        while True:
            threading.Event().wait(_TICK)
            with self._lock:
                if not self._held and not self._unfinished and monotonic() - self._last > _QUIET:
                    self._draw(f"{self._text}, {monotonic() - self._since:.0f} s")

    def _draw(self, text: str) -> None:
        self._write(_CLEAR + text.encode("ascii", "replace")[: _columns() - 1])
        self._drawn = True

    @staticmethod
    def _write(raw: bytes) -> None:
        with suppress(OSError):
            os.write(2, raw)


def _is_watched() -> bool:
    try:
        return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
    except (AttributeError, ValueError):  # closed before the start
        return False


def _columns() -> int:
    try:
        return max(20, os.get_terminal_size(2).columns)
    except OSError:
        return 80


PULSE = Pulse()
