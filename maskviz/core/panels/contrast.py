"""The picture of two masks beside each other, as renderers draw it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from maskviz.core.arrays import BoolArray, ByteArray, sealed

if TYPE_CHECKING:
    from maskviz.core.panels.page import Token


@dataclass(frozen=True, slots=True, eq=False)
class DiffGrid:
    """Which of two masks lets through what.

    Attributes:
        title: Which masks.
        caption: What they are, one line.
        codes: uint8 [query, key], 0 = neither lets the query see the key, 1 = only A, 2 = only B, 3 = both.
        queries, keys: Tokens along the two axes.
        meaningless: bool [query], True where the query is padding: drawn greyed and not counted.
    """

    title: str
    caption: str
    codes: ByteArray
    queries: tuple[Token, ...]
    keys: tuple[Token, ...]
    meaningless: BoolArray

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", sealed(self.codes, np.uint8))
        object.__setattr__(self, "meaningless", sealed(self.meaningless, np.bool_))
        expected = (len(self.queries), len(self.keys))
        if self.codes.shape != expected or self.meaningless.shape != expected[:1]:
            raise ValueError(f"codes {self.codes.shape} do not fit {expected[0]} queries and {expected[1]} keys")

    @property
    def counts(self) -> tuple[int, int, int, int]:
        """Cells that neither, only A, only B and both let through, on rows that have a meaning."""
        found = np.bincount(self.codes[~self.meaningless].ravel(), minlength=4).tolist()
        return (found[0], found[1], found[2], found[3])
