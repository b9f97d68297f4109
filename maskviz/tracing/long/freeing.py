"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Let the C library return what it keeps of freed memory.

    Blocks of attention differ in size, so what one leaves free the next cannot use: without this a long run of small
    arrays ends in several times their memory. Does nothing where the C library has no such call.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim  # glibc; another Linux or system has none
    except (OSError, AttributeError, TypeError):
        return None
    return trim
