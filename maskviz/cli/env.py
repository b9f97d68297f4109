"""The world outside, as one object that tests replace: streams, the terminal, the processes torchrun started."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from maskviz.cli.pulse import PULSE
from maskviz.core.errors import ExitCode, FailedElsewhereError, NotFoundError, UsageError
from maskviz.core.machine import Share, newer_than_tested
from maskviz.core.words import Parallel
from maskviz.core.writing import printable
from maskviz.store.reading import LARGEST_TEXT, decoded


class _Results:
    """Standard output. A reader may leave early (maskviz ... | head), which is no error; a full disk is one."""

    def __init__(self, stream: Any, nothing: str | bytes = "") -> None:
        self._stream, self._nothing = stream, nothing

    @property
    def buffer(self) -> _Results:
        """The same for bytes."""
        return _Results(self._stream.buffer, b"")

    def write(self, text: str | bytes) -> int:
        """Write a text."""
        if text == self._nothing:  # a library asks so whether this takes text, and swallows what it is told
            return 0
        PULSE.gone(text)
        with self._said():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write out what is held back."""
        with self._said():
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @contextmanager
    def _said(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())  # nothing more can be written there
            if isinstance(error, BrokenPipeError):
                raise SystemExit(ExitCode.SHOWN) from None
            raise NotFoundError(f"cannot write to standard output: {error.strerror}", "check the disk") from error


class _Talk:
    """Standard error. Where it cannot be written, nobody can be told, and the work goes on."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        PULSE.gone(text)
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        """Write out what is held back."""
        with suppress(OSError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def guard_streams() -> None:
    """Let standard output and standard error of this process say what they cannot take, whoever writes to them."""
    if sys.stdout is not None:
        sys.stdout = cast("TextIO", _Results(sys.stdout))
    if sys.stderr is not None:
        sys.stderr = cast("TextIO", _Talk(sys.stderr))


def _closed(mode: str) -> TextIO:
    """What stands in for a stream that was closed before the start (maskviz ... >&-)."""
    return cast("TextIO", Path(os.devnull).open(mode))


def fall_silent() -> None:
    """Let this process write to no stream."""
    sys.stdout = sys.stderr = _closed("w")


@dataclass(slots=True)
class Env:
    """Standard streams and what the terminal can show.

    Attributes:
        stdin, stdout, stderr: The streams. Results go to stdout, everything else to stderr.
        width: Columns to draw for, or None for the terminal's (80 where there is none).
        height: Lines to draw for, or None for the terminal's (no limit where there is none).
        command: The command line as typed, for the metadata of files.
        leads: Whether this is the process that writes, of those torchrun started.
        quiet: Whether nothing is said of files that are written.
        traceback: Whether an error of the user's own Python is said with its whole traceback.
        again: Runs another command line in this process, its words as they are typed behind `maskviz`.
    """

    stdin: TextIO = field(default_factory=lambda: sys.stdin or _closed("r"))
    stdout: TextIO = field(default_factory=lambda: sys.stdout or _closed("w"))
    stderr: TextIO = field(default_factory=lambda: sys.stderr or _closed("w"))
    width: int | None = None
    height: int | None = None
    command: str = ""
    leads: bool = field(default_factory=lambda: Share.of_environment().leads)
    quiet: bool = False
    traceback: bool = False
    again: Callable[[Sequence[str]], None] = lambda _: None

    def console(self) -> Console:
        """The console results are drawn on."""
        console = Console(file=self.stdout, width=self.width, markup=False, highlight=False, emoji=False)
        if console.width < 1:  # COLUMNS=0 says nothing
            console.width = 80
        return console

    def lines(self) -> int | None:
        """Lines a picture should fit, None where nobody scrolls."""
        if self.height is not None:
            return self.height
        return self.console().size.height if self.stdout.isatty() else None

    def say(self, text: str) -> None:
        """Write a line of progress or advice to stderr."""
        self.stderr.write(f"{printable(text)}\n")
        self.stderr.flush()

    def wrote(self, path: Path) -> None:
        """Write a line on a file that was written, unless nothing is to be said of files."""
        if not self.quiet:
            self.say(f"wrote {path}")

    def say_releases(self) -> None:
        """Write a line where a library that runs models is newer than any that was tested."""
        for sentence in newer_than_tested():
            self.say(f"maskviz: note: {sentence}")

    def progress(self, text: str) -> None:
        """Write a line of progress, where somebody watches."""
        PULSE.say(text)
        if self.stderr.isatty():
            self.say(text)

    @contextmanager
    def counting(self, what: str, total: int) -> Iterator[Callable[[int], None]]:
        """A bar of progress, where somebody watches; gives what is to be called with each number of things done."""
        if not self.stderr.isatty():
            yield lambda _: None
            return
        console = Console(file=self.stderr, markup=False, highlight=False, emoji=False)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with PULSE.held(), Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(what, total=total)
            yield lambda count: bar.advance(task, count)

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
        raw = buffer.read(LARGEST_TEXT + 1)
        if len(raw) > LARGEST_TEXT:
            raise NotFoundError("standard input has more than 10 MB", "cut it; no attention map shows as much")
        return decoded(raw, "standard input")


@contextmanager
def working_together(parallel: Parallel | None) -> Iterator[Share]:
    """Join the processes torchrun started while the block runs; alone, there is nothing to join.

    Args:
        parallel: How the model is spread; unless over processes, its texts are.
    """
    alone = Share.of_environment(splits=parallel is not Parallel.TP)
    if alone.world == 1:
        yield alone
        return
    from maskviz.load.models.parallel import in_processes  # torch starts here

    try:
        with in_processes(splits=parallel is not Parallel.TP) as share:
            yield share
    except FailedElsewhereError:
        raise
    except Exception:
        if sys.__stderr__ is not None and Share.of_environment().world > 1:
            sys.stderr = sys.__stderr__  # it is this process that has to say what is wrong
        raise
