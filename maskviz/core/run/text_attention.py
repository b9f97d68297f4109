"""One attention on one text, as statistics see it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import BoolArray, DoubleArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class TextAttention:
    """One attention on one text, its real queries alone.

    Attributes:
        weights: float64 [head, query, key].
        visible: bool [1 or head, query, key], True = may attend.
        places: int64 [query], where the queries stand in their text.
        positions: How many places the text has.
    """

    weights: DoubleArray
    visible: BoolArray
    places: IntArray
    positions: int

    @property
    def seen(self) -> IntArray:
        """int64 [1 or head, query], how many keys each query sees."""
        return np.asarray(self.visible.sum(-1), dtype=np.int64)

    @property
    def uniform(self) -> DoubleArray:
        """float64 [1 or head, query, key], equal weights on all keys a query sees."""
        return np.asarray(self.visible / np.maximum(self.seen, 1)[..., None], dtype=np.float64)

    @property
    def defined(self) -> BoolArray:
        """bool [head, query], False where attention is not a number."""
        return np.asarray(np.isfinite(self.weights).all(-1), dtype=np.bool_)

    @property
    def counts(self) -> BoolArray:
        """bool [head, query], the queries that say something of a head: a query that sees one key has no choice."""
        return np.asarray((self.seen >= 2) & self.defined, dtype=np.bool_)
