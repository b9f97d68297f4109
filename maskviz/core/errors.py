"""What can go wrong for a user, and the exit code each kind ends with."""

from __future__ import annotations

import os
from enum import IntEnum

from maskviz.core.writing import parameter, printable


class ExitCode(IntEnum):
    """Exit codes of the command line; docs/exit-codes.md documents the same list."""

    SHOWN = 0
    BUG = 1  # left to Python: a traceback is our bug, never a finding
    USAGE = 2
    NOT_FOUND = 3
    CANNOT_TRACE = 4
    FINDING = 5
    INTERRUPTED = 130


class MaskvizError(Exception):
    """An error that is the input's: one line saying what was wrong with which value, and one hint.

    Attributes:
        message: What was wrong, with the value received. No final full stop needed.
        hint: What to do next, or None where there is nothing to say.
        exit_code: The documented exit code of this kind of error.
    """

    exit_code = ExitCode.USAGE

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows in place of a traceback; the traceback where MASKVIZ_TRACEBACK is set."""
        if os.environ.get("MASKVIZ_TRACEBACK"):
            import traceback

            return traceback.format_exception(self)
        said = [f"{type(self).__name__}: {printable(self.message)}"]
        return [*said, f"  hint: {printable(self.hint)}"] if self.hint else said


class UsageError(MaskvizError):
    """The command line asks for something that does not exist or does not go together."""

    exit_code = ExitCode.USAGE


class NoWeightsError(UsageError):
    """Numbers are asked of a model that has none, with why it has none: `note` is that of its card."""

    def __init__(self, what: str, note: str, hint: str = "") -> None:
        own = hint or f"try {parameter('random_weights', 0)}"
        super().__init__(f"{what}, and there are none" + (f" ({note})" if note else ""), own)


class NotFoundError(MaskvizError):
    """A model or file is missing, unreadable, damaged, or cannot be written."""

    exit_code = ExitCode.NOT_FOUND


class CannotTraceError(MaskvizError):
    """The model cannot be traced on this input, or the run would not fit."""

    exit_code = ExitCode.CANNOT_TRACE


class FailedElsewhereError(MaskvizError):
    """Another process on the same work has failed and says why: this one ends in silence, with the other's code."""

    def __init__(self, code: int) -> None:
        super().__init__("another process failed")
        self.exit_code = ExitCode(code)
