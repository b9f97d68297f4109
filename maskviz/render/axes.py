"""What is written along an axis of tokens: names or numbers, and which of them."""

from __future__ import annotations

from maskviz.core.panels.page import Token


def strides() -> tuple[int, ...]:
    """Return 1, 2, 5, 10, 20 ...: every how many places an axis may be labelled."""
    return tuple(digit * 10**power for power in range(9) for digit in (1, 2, 5))


def are_numbers(tokens: tuple[Token, ...]) -> bool:
    """Whether tokens are named by their numbers, so that these need not be said twice."""
    return all(token.text == str(token.place) for token in tokens)


def tokens_each(tokens: tuple[Token, ...]) -> int:
    """Tokens of the text that each place of an axis stands for before it is folded here."""
    return tokens[0].count if tokens else 1
