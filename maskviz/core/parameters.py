"""How whoever asked writes a parameter: `max_length=3` in Python, `--max-length 3` in a shell."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SHELL: ContextVar[bool] = ContextVar("whether a shell asks", default=False)
_NOTHING = object()


@contextmanager
def in_a_shell() -> Iterator[None]:
    """While this lasts, answers are for somebody at a shell."""
    before = _SHELL.set(True)
    try:
        yield
    finally:
        _SHELL.reset(before)


def parameter(name: str, value: object = _NOTHING, *, shell: str | None = None) -> str:
    """A parameter as the one who asked would write it.

    Args:
        name: Its name in Python.
        value: What is given; none names the parameter alone. In a shell an option that is on stands by itself.
        shell: The option, where it is not the name with dashes.
    """
    if not _SHELL.get():
        return f"{name}=" if value is _NOTHING else f"{name}={value!r}"
    option = shell or f"--{name.replace('_', '-')}"
    return option if value is _NOTHING or isinstance(value, bool) else f"{option} {shlex.quote(str(value))}"


def either(python: str, shell: str) -> str:
    """Advice that is another one in Python than in a shell."""
    return shell if _SHELL.get() else python


def spoken(text: str) -> str:
    """Words of ours that were written for a shell, with an option in brackets as whoever asked would write it."""
    return re.sub(r"\(--([a-z-]+) (\w+)\)", lambda found: f"({parameter(found[1].replace('-', '_'), found[2])})", text)
