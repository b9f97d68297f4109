"""How far each query sees, without a cell: what a rule lets through as one run of keys per query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, IntArray


@dataclass(frozen=True, slots=True)
class Lengths:
    """The size of a mask: queries from `offset` on, over keys from 0 on."""

    queries: int
    keys: int
    offset: int = 0

    @property
    def query(self) -> IntArray:
        """int64 [1, query], the positions of the queries."""
        return np.arange(self.offset, self.offset + self.queries)[None]


@dataclass(frozen=True, slots=True, eq=False)
class Extents:
    """The keys each query sees: `first <= key < last`, less those that are not kept.

    Attributes:
        first, last: int64 [1 or batch, query]; a query that sees nothing has `last <= first`.
        kept: bool [1 or batch, key], False where no query sees the key (padding); None where all are kept.
        keys: Number of keys.
    """

    first: IntArray
    last: IntArray
    kept: BoolArray | None
    keys: int

    @classmethod
    def between(cls, size: Lengths, first: IntArray | None = None, last: IntArray | None = None) -> Extents:
        """Runs from `first` on and to before `last`, int64 [1 or batch, query], cut to the keys there are; from the
        first key and behind the last one where they are None."""
        begin = np.zeros_like(size.query) if first is None else np.clip(first, 0, size.keys)
        end = np.full_like(size.query, size.keys) if last is None else np.clip(last, 0, size.keys)
        return cls(begin, end, None, size.keys)

    def __and__(self, other: Extents) -> Extents:
        kept = self.kept if other.kept is None else other.kept if self.kept is None else self.kept & other.kept
        return Extents(np.maximum(self.first, other.first), np.minimum(self.last, other.last), kept, self.keys)

    def of_row(self, row: int) -> Extents:
        """The extents of one row of the batch, every array [1, ...]."""

        def chosen(array: AnyArray) -> AnyArray:
            return array[[row % len(array)]]

        kept = None if self.kept is None else chosen(self.kept)
        return Extents(chosen(self.first), chosen(self.last), kept, self.keys)
