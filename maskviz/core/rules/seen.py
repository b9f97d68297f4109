"""What a mask shows, for the kinds of rules that could have made it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import BoolArray, IntArray


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A mask in which some query sees a key.

    Attributes:
        cells: bool [batch, query, key], True where some head lets the query see the key.
        query: int64 [query], positions of the queries; keys are counted from 0.
    """

    cells: BoolArray
    query: IntArray

    @property
    def keys(self) -> int:
        """Number of keys."""
        return int(self.cells.shape[2])

    @property
    def first(self) -> IntArray:
        """int64 [batch, query], the first key each query sees; 0 for a blind one."""
        return np.asarray(self.cells.argmax(axis=-1))

    @property
    def ends(self) -> IntArray:
        """int64 [batch, query], the key behind the last one each query sees; 0 for a blind query."""
        return np.where(self.cells.any(axis=-1), self.keys - self.cells[..., ::-1].argmax(axis=-1), 0)

    @property
    def behind(self) -> int:
        """How many tokens back the farthest key lies that a query sees."""
        return int((self.query - self.first)[self._sees].max())

    @property
    def ahead(self) -> int:
        """How many tokens ahead the farthest key lies that a query sees."""
        return int((self.ends - 1 - self.query)[self._sees].max())

    @property
    def _sees(self) -> BoolArray:
        return np.asarray(self.cells.any(axis=-1))
