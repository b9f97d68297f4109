"""Tables [batch, token] that rules look positions up in."""

from __future__ import annotations

import numpy as np

from maskviz.core.arrays import AnyArray, Content, IntArray


def looked_up(table: AnyArray, batch: IntArray, index: IntArray, beyond: int) -> AnyArray:
    """`table[batch, index]`, with `beyond` for an index past the table's end."""
    inside = index < table.shape[1]
    found = table[batch, np.minimum(index, table.shape[1] - 1)]
    return np.asarray(np.where(inside, found, table.dtype.type(beyond)))


def row_of(content: Content, row: int) -> Content:
    """One row of [batch, ...] as a batch of its own; a table of a single row stands for all."""
    array = content.array
    return Content(array[row % len(array)][None], array.dtype)


def in_order(names: IntArray) -> IntArray:
    """Names int64 [token] as numbers from 0, in the order in which they are met."""
    _, first, number = np.unique(names, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return np.asarray(order[number.ravel()])
