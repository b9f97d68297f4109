"""Rules as they are said, `causal ∧ window(4096) ∧ document`, read back."""

from __future__ import annotations

import re
from collections.abc import Iterator

from maskviz.core.arrays import Content
from maskviz.core.errors import UsageError
from maskviz.core.rules.algebra import Rule, all_of
from maskviz.core.rules.registry import kinds, known_words, words
from maskviz.core.rules.typed import Typed, misread
from maskviz.core.writing import nearest

_PART = re.compile(
    r"\s*(?:(?P<join>∧|&&?|and\b)|(?P<name>\w+)\s*(?:\(\s*(?P<inside>[^()]*?)\s*\))?|(?P<other>\S))\s*", re.IGNORECASE
)


def parse_rule(text: str, document: Content | None = None, keep: Content | None = None) -> Rule:
    """Read a conjunction of rules; `parse_rule(str(rule))` is the rule.

    Args:
        text: Rules as they print themselves, or with `&` or `and` between them, and `band(N)` for `window(±N)`.
        document: int64 [batch, token], for a rule that says `document`.
        keep: bool [batch, token], for a rule that says `padding`.

    Raises:
        UsageError: it says something else; the message says at which character.
    """
    try:
        return all_of(*(_rule(typed) for typed in _rules(text, document, keep)))
    except UsageError as error:
        error.hint = error.hint or f"a rule is made of {known_words()}"
        raise


def _rules(text: str, document: Content | None, keep: Content | None) -> Iterator[Typed]:
    """The rules of a conjunction one by one."""
    joined = True
    for part in _parts(text):
        words, character = part[0].strip(), part.start() + len(part[0]) - len(part[0].lstrip()) + 1
        if (part["join"] is None) != joined or part["other"]:
            raise misread(text, character, f"{'a rule' if joined else '∧'} is expected where {words!r} stands")
        joined = not joined
        if not joined:
            yield Typed(part["name"].lower(), part["inside"], words, text, character, document, keep)
    if joined:
        raise UsageError(f"the rule {text!r} ends where another is expected")


def _parts(text: str) -> Iterator[re.Match[str]]:
    """The words of a text one by one."""
    place = 0
    while place < len(text) and (part := _PART.match(text, place)):
        yield part
        place = part.end()


def _rule(typed: Typed) -> Rule:
    found = next((rule for kind in kinds() if (rule := kind.read(typed)) is not None), None)
    if found is None:
        error = typed.wrong(f"{typed.words!r} is no known rule")
        close = nearest(typed.words.partition("(")[0], [word.partition("(")[0] for word in words()])
        error.hint = f"{close} a rule is made of {known_words()}" if close else error.hint
        raise error
    return found
