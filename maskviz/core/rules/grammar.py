"""Rules as they are said, `causal ∧ window(4096) ∧ document`, read back."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from maskviz.core.arrays import Content
from maskviz.core.errors import UsageError
from maskviz.core.rules.algebra import Everything, Rule, all_of
from maskviz.core.rules.block_kinds import BlockCausal, BlockDiffusion, Prefix
from maskviz.core.rules.kinds import Ahead, Band, Causal, Chunk, Document, Padding, Window

_KNOWN = (
    "bidirectional, causal, window(N), window(±N), ahead(N), chunk(N), block(N), prefix(N), diffusion(N, LENGTH), "
    "document, padding, joined by ∧, & or 'and'"
)
_PART = re.compile(
    r"\s*(?:(?P<join>∧|&&?|and\b)|(?P<name>\w+)\s*(?:\(\s*(?P<inside>[^()]*?)\s*\))?|(?P<other>\S))\s*", re.IGNORECASE
)
_NUMBER = re.compile(r"[0-9]{1,3}(,[0-9]{3})+|[0-9]{1,12}")


def parse_rule(text: str, document: Content | None = None, keep: Content | None = None) -> Rule:
    """Read a conjunction of rules; `parse_rule(str(rule))` is the rule.

    Args:
        text: Rules as they print themselves, or with `&` or `and` between them, and `band(N)` for `window(±N)`.
        document: int64 [batch, token], for a rule that says `document`.
        keep: bool [batch, token], for a rule that says `padding`.

    Raises:
        UsageError: it says something else; the message says at which character.
    """
    rules: list[Rule] = []
    joined = True
    for part in _parts(text):
        if (part["join"] is None) != joined or part["other"]:
            wanted = "a rule" if joined else "∧"
            raise _wrong(text, part, f"{wanted} is expected where {part[0].strip()!r} stands")
        joined = not joined
        if joined:
            continue
        rules.append(_rule(text, part, document, keep))
    if joined:
        raise UsageError(f"the rule {text!r} ends where another is expected", f"a rule is made of {_KNOWN}")
    return all_of(*rules)


def _parts(text: str) -> Iterator[re.Match[str]]:
    """The words of a text one by one."""
    place = 0
    while place < len(text) and (part := _PART.match(text, place)):
        yield part
        place = part.end()


def _rule(text: str, part: re.Match[str], document: Content | None, keep: Content | None) -> Rule:
    match part["name"].lower(), part["inside"]:
        case "bidirectional", None:
            return Everything()
        case "causal", None:
            return Causal()
        case "window", str(inside) if inside.startswith(("±", "+-")):
            return Band(_number(text, part, inside.removeprefix("±").removeprefix("+-")))
        case "window", str(inside):
            return Window(_number(text, part, inside))
        case "band", str(inside):
            return Band(_number(text, part, inside))
        case "ahead", str(inside):
            return Ahead(_number(text, part, inside))
        case "chunk", str(inside):
            return Chunk(_number(text, part, inside, least=1), Content([0], np.int64))
        case "document" | "documents", None:
            return Document(_given(document, text, part, "--documents 1000,5000 gives their lengths"))
        case "padding", None:
            return Padding(_given(keep, text, part, "--padding 100 pads the last 100 tokens"))
        case "padding", str(inside) if re.fullmatch(r"keys\s*,\s*queries", inside):
            return Padding(_given(keep, text, part, "--padding 100 pads the last 100 tokens"), queries=True)
    return _ahead_on_purpose(text, part)


def _ahead_on_purpose(text: str, part: re.Match[str]) -> Rule:
    """Blocks, a prefix or block diffusion."""
    match part["name"].lower(), part["inside"]:
        case "block", str(inside):
            return BlockCausal(_number(text, part, inside, least=1))
        case "prefix", str(inside):
            return Prefix(Content([_number(text, part, inside)], np.int64))
        case "diffusion", str(inside):
            return BlockDiffusion(*_two_numbers(text, part, inside))
    raise _wrong(text, part, f"{part[0].strip()!r} is no known rule")


def _number(text: str, part: re.Match[str], inside: str, least: int = 0) -> int:
    number = int(inside.replace(",", "")) if _NUMBER.fullmatch(inside) else -1
    if number < least:
        raise _wrong(text, part, f"{part[0].strip()!r} needs a number of tokens from {least}")
    return number


def _two_numbers(text: str, part: re.Match[str], inside: str) -> tuple[int, int]:
    """Two numbers with a comma and a space between them, or a comma alone where neither has any of its own."""
    words = re.split(r",\s+", inside)
    words = words if len(words) == 2 else inside.split(",")
    if len(words) != 2:
        raise _wrong(text, part, f"{part[0].strip()!r} needs two numbers: tokens of a block, and of the clean text")
    return _number(text, part, words[0].strip(), least=1), _number(text, part, words[1].strip(), least=1)


def _given(content: Content | None, text: str, part: re.Match[str], hint: str) -> Content:
    if content is None:
        raise UsageError(f"the rule {text!r} says {part['name']!r} and not of which tokens", hint)
    return content


def _wrong(text: str, part: re.Match[str], what: str) -> UsageError:
    place = part.start() + len(part[0]) - len(part[0].lstrip()) + 1
    return UsageError(f"in the rule {text!r}, at character {place}: {what}", f"a rule is made of {_KNOWN}")
