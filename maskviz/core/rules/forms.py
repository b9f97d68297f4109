"""How a field of a rule is written in a file, said once: `store` writes, checks and reads by it."""

from __future__ import annotations

from dataclasses import dataclass

from numpy.typing import DTypeLike

# The largest numbers that files know: of tokens in a text, and of windows in configs, which no text fills.
MOST_TOKENS, MOST_REACH = 2**24, 2**62


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole number from `least` to `most`, both included."""

    least: int = 0
    most: int = MOST_REACH


@dataclass(frozen=True, slots=True)
class PerRow:
    """A `Content` int64 [batch]: a number for each row of the batch."""

    least: int = -MOST_TOKENS
    most: int = MOST_TOKENS


@dataclass(frozen=True, slots=True)
class PerToken:
    """A `Content` [batch, token] of whole numbers."""

    least: int = -MOST_REACH
    most: int = MOST_REACH
    dtype: DTypeLike = "int64"


@dataclass(frozen=True, slots=True)
class Cells:
    """A `Content` bool [batch, 1 or head, query, key], as base64 of its bits beside a "shape"."""


@dataclass(frozen=True, slots=True)
class Flag:
    """True or false."""


@dataclass(frozen=True, slots=True)
class Said:
    """A text; one that is `optional` is left out where it is empty."""

    optional: bool = False


@dataclass(frozen=True, slots=True)
class Part:
    """A rule."""


@dataclass(frozen=True, slots=True)
class Parts:
    """A tuple of rules."""


Form = Whole | PerRow | PerToken | Cells | Flag | Said | Part | Parts
