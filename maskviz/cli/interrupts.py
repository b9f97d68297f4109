"""Ctrl-C, at any moment of a process: one line and exit code 130.

While a command runs it is a `KeyboardInterrupt`, so that what is half done is undone. Before and after that nothing is
to be undone, and an exception would be met by Python's own start and end: there the process leaves at once. This is
imported before all else, so it imports next to nothing.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

SAID = "maskviz: interrupted\n"
CODE = 130


def leave(number: int = 0, frame: object = None) -> None:
    """Say it and end this process, whatever Python is doing. Has the form of a signal's handler."""
    del number, frame
    with suppress(AttributeError, OSError, ValueError):  # it may be closed, or full
        os.write(sys.stderr.fileno(), SAID.encode())  # and not `write`, which may be what is interrupted
    os._exit(CODE)


def leave_at_interrupt() -> None:
    """Let Ctrl-C end this process at once; where it is ignored (nohup), it stays ignored."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # all is said and written, and Python unmade


@contextmanager
def interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt in the block, in a process that else would leave at once."""
    ours = signal.getsignal(signal.SIGINT) is leave
    try:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        yield
    finally:
        if ours:
            signal.signal(signal.SIGINT, leave)
