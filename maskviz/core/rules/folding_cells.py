"""What `folding` tells of rules by the run of keys each query sees, of any rule that can be read, from its cells.

For masks whose square may be built.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.core.arrays import BoolArray, ByteArray
from maskviz.core.rules.algebra import Grid, Rule
from maskviz.core.rules.extents import Lengths
from maskviz.core.rules.folding import CellCount, counted_queries, padding_queries
from maskviz.core.rules.reasons import PARTLY, Reason

# Some 16,000 tokens squared, evaluated a band of queries at a time.
MOST_CELLS = 2**28
_BAND = 2**22


def by_cells(rule: Rule, size: Lengths) -> bool:
    """Whether a rule's cells can be asked one by one."""
    return rule.readable and size.queries * size.keys <= MOST_CELLS


def count_every_cell(rule: Rule, size: Lengths) -> CellCount:
    """As `folding.count_cells`."""
    real = ~padding_queries(rule, size)
    visible, blocked = 0, dict.fromkeys(Reason, 0)
    for first, reasons in _bands(rule, size, 1):
        asked = reasons[real[first : first + len(reasons)]]
        visible += int((asked == 0).sum())
        for reason in Reason:
            blocked[reason] += int(np.count_nonzero(asked & reason))
    counts = {reason: count for reason, count in blocked.items() if count}
    return CellCount(int(real.sum()) * size.keys, visible, counts)


def fold_every_cell(rule: Rule, size: Lengths, tile: int, meaningless: BoolArray | None = None) -> ByteArray:
    """As `folding.fold_rule`."""
    counted = counted_queries(meaningless, size.queries, tile)
    columns = np.arange(0, size.keys, tile)
    rows = []
    for first, reasons in _bands(rule, size, tile):
        for start in range(0, len(reasons), tile):
            asked = reasons[start : start + tile][counted[first + start : first + start + tile]]
            some = np.logical_or.reduceat((asked == 0).any(axis=0), columns)
            every = np.logical_and.reduceat((asked == 0).all(axis=0), columns)
            bits = np.bitwise_or.reduceat(np.bitwise_or.reduce(asked, axis=0), columns).astype(np.int16)
            rows.append(np.where(every, 0, np.where(some, PARTLY, bits & -bits)))
    return np.array(rows, np.uint8)


def blocks_of_cells(rule: Rule, size: Lengths, side: int) -> tuple[int, int]:
    """How many blocks of `side` x `side` cells are visible as a whole, and how many in part; what lies beyond the end
    of the text is not visible."""
    columns = np.arange(0, size.keys, side)
    full = partial = 0
    for _, reasons in _bands(rule, size, side):
        for start in range(0, len(reasons), side):
            seen = reasons[start : start + side] == 0
            count = np.add.reduceat(seen.sum(axis=0), columns)
            full += int((count == side * side).sum())
            partial += int(((count > 0) & (count < side * side)).sum())
    return full, partial


def _bands(rule: Rule, size: Lengths, step: int) -> Iterator[tuple[int, ByteArray]]:
    """Reason bits uint8 [query, key] of the first row of a batch, a multiple of `step` queries at a time, each with
    the number of its first query."""
    height = max(1, _BAND // size.keys // step) * step
    for first in range(0, size.queries, height):
        at = Grid.of(1, min(height, size.queries - first), size.keys, size.offset + first)
        yield first, np.broadcast_to(rule.reasons(at), at.shape)[0, 0]
