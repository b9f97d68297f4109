"""How names, numbers and parameters are written."""

from __future__ import annotations

import shlex
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from pathlib import PurePath

# Named where a name says more than a code point.
_NAMED = {"\n": "⏎", "\t": "⇥", "\r": "␍"}
# Bidirectional controls reorder the text around them; Cc and Cs are what terminals and files choke on.
_HIDDEN_CATEGORIES = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
# Joins the parts of emoji and of scripts such as Persian and Hindi; harmless and needed to read them.
_JOINERS = {"\u200c", "\u200d"}


def printable(text: str) -> str:
    """Return `text` with control, format and unassigned characters shown as symbols or escapes.

    Newlines and tabs become symbols; ANSI escapes, NUL, direction overrides and lone surrogates become `\\x1b`
    or `\\u202e`. Letters, marks, CJK and emoji stay as they are.
    """
    return "".join(_shown(character) for character in text)


def _shown(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if character in _JOINERS or unicodedata.category(character) not in _HIDDEN_CATEGORIES:
        return character
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def ranges(numbers: Iterable[int]) -> str:
    """Numbers as people list them: 0-2, 5."""
    runs: list[list[int]] = []
    for number in sorted(set(numbers)):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)


def nearest(given: str, known: Iterable[str]) -> str:
    """`did you mean ...?` with the known name that is most like what was given; empty where none is."""
    from difflib import get_close_matches

    names = {name.lower(): name for name in known}
    found = get_close_matches(given.lower(), names, n=1, cutoff=0.6)
    return f"did you mean {names[found[0]]}?" if found else ""


def plural(count: int, word: str) -> str:
    """`1 head`, `2 heads`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"


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
    if isinstance(value, StrEnum | PurePath):
        value = str(value)
    if not _SHELL.get():
        return f"{name}=" if value is _NOTHING else f"{name}={value!r}"
    option = shell or f"--{name.replace('_', '-')}"
    return option if value is _NOTHING or isinstance(value, bool) else f"{option} {shlex.quote(str(value))}"


def either(python: str, shell: str) -> str:
    """Advice that is another one in Python than in a shell."""
    return shell if _SHELL.get() else python
