"""Tokens and numbers as panels say them."""

from __future__ import annotations

from collections.abc import Iterable

from maskviz.core.panels import Token, TokenStrip
from maskviz.core.trace import Batch, Trace


def tokens_of(batch: Batch, row: int, count: int, offset: int = 0) -> tuple[Token, ...]:
    """`count` tokens of a row from `offset` on; numbers where the row has no token of that position."""
    texts, roles = batch.tokens[row], batch.roles[row]
    return tuple(
        Token(texts[place], roles[place].value) if place < len(texts) else Token(str(place))
        for place in range(offset, offset + count)
    )


def token_strips(trace: Trace, rows: Iterable[int]) -> list[TokenStrip]:
    """The tokens of the chosen rows, and of the decoder's where there is one."""
    rows = tuple(rows)
    sides = [("tokens", trace.batch)]
    if trace.batch.decoder is not None:
        sides = [("encoder tokens", trace.batch), ("decoder tokens", trace.batch.decoder)]
    names = tuple(f"text {row + 1}" for row in rows) if trace.batch.rows > 1 else ()
    return [TokenStrip(title, tuple(tokens_of(side, row, side.length) for row in rows), names) for title, side in sides]


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
