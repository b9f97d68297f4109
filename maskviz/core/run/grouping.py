"""Which tokens form a word."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import IntArray, sealed


@dataclass(frozen=True, slots=True, eq=False)
class Grouping:
    """The words of a batch.

    Attributes:
        groups: int64 [batch, token], the number of each token's word within its row, in the order they begin; all
            padding of a row is one word, behind all others.
        names: Printable names of the words, [batch][word].
        decoder: The words of the decoder's side, or None.
    """

    groups: IntArray
    names: tuple[tuple[str, ...], ...]
    decoder: Grouping | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "groups", sealed(self.groups, np.int64))
        for row, names in zip(self.groups, self.names, strict=True):
            if set(row.tolist()) != set(range(len(names))):
                raise ValueError(f"groups {sorted(set(row.tolist()))} do not fit {len(names)} words")
