"""Any string as text that does nothing but be read."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

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


def plural(count: int, word: str) -> str:
    """`1 head`, `2 heads`."""
    return f"{count:,} {word}" if count == 1 else f"{count:,} {word}s"
