"""A rule folded into tiles from how far each query sees: nothing of the size of the square is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import BoolArray, ByteArray, IntArray
from maskviz.core.rules.algebra import Leaf, Rule, all_of
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.core.rules.kinds.padding import Padding
from maskviz.core.rules.reasons import PARTLY, Reason


@dataclass(frozen=True, slots=True)
class CellCount:
    """How many cells of one text's mask a rule lets through and blocks.

    Attributes:
        cells: All cells of queries that are no padding.
        visible: Those of them that the query may attend to.
        blocked: Those blocked for each reason that occurs; a cell with two reasons counts for both.
    """

    cells: int
    visible: int
    blocked: Mapping[Reason, int]


def count_cells(rule: Rule, size: Lengths) -> CellCount | None:
    """Count the cells of a rule's first row exactly, linear in queries and keys.

    Returns None where `Rule.extents` does.
    """
    extents = rule.extents(size)
    if extents is None:
        return None
    real = ~padding_queries(rule, size)
    cells = int(real.sum()) * size.keys
    blocked = {reason: cells - _visible(own, real) for reason, own in _by_reason(rule, size).items()}
    return CellCount(cells, _visible(extents, real), {reason: count for reason, count in blocked.items() if count})


def padding_queries(rule: Rule, size: Lengths) -> BoolArray:
    """bool [query], True where the query is padding by a rule's first row."""
    padding = np.zeros(size.offset + size.queries, np.bool_)
    for leaf in rule.leaves():
        if isinstance(leaf, Padding):
            keep = leaf.keep.array[0, : padding.size]
            padding[: keep.size] |= ~keep
    return padding[size.offset :]


def fold_rule(rule: Rule, size: Lengths, tile: int, meaningless: BoolArray | None = None) -> ByteArray | None:
    """Fold the mask of a rule's first row into tiles of `tile` x `tile` cells; the last ones may be smaller.

    Linear in queries, keys and tiles. Rows of padding queries count only in tiles that hold no other row.

    Args:
        rule: What is folded.
        size: At least one query and one key.
        tile: Tokens along a side of a tile.
        meaningless: bool [query], True where the query is padding; None where none is.

    Returns:
        uint8 [tile row, tile column]: 0 where every cell is visible, `PARTLY` where some are, else the lowest `Reason`
        bit among the tile's cells. None where `Rule.extents` is.
    """
    extents = rule.extents(size)
    if extents is None:
        return None
    counted = counted_queries(meaningless, size.queries, tile)
    codes = np.where(filled(extents, tile, counted), 0, PARTLY).astype(np.uint8)
    blocked = ~touched(extents, tile, counted)
    # The lowest reason is written last. A reason occurs in a tile unless its own rules let the whole tile through.
    for reason, own in sorted(_by_reason(rule, size).items(), reverse=True):
        codes[blocked & ~filled(own, tile, counted)] = reason
    return codes


def touched(extents: Extents, tile: int, counted: BoolArray) -> BoolArray:
    """Return bool [tile row, tile column], True where some cell is visible to a counted query, of one row's extents."""
    first, behind = tiles_seen(extents, tile)
    rows, columns = -(-counted.size // tile), -(-extents.keys // tile)
    place = np.arange(counted.size) // tile * (columns + 1)  # a column more, for runs that end behind the last tile
    count = rows * (columns + 1)
    begins, ends = (np.bincount((place + edge)[counted], minlength=count) for edge in (first, behind))
    covered: BoolArray = (begins - ends).reshape(rows, columns + 1).cumsum(axis=1)[:, :-1] > 0
    if extents.kept is not None:
        covered &= np.logical_or.reduceat(extents.kept[0], np.arange(0, extents.keys, tile))
    return covered


def tiles_seen(extents: Extents, tile: int) -> tuple[IntArray, IntArray]:
    """Return the first tile column in which each query sees a key and the one behind the last, int64 [query] each.

    Between the two a tile without a key that is kept may lie. A query that sees nothing has two equal ones.
    """
    first, last = extents.first[0], extents.last[0]
    if extents.kept is not None:
        kept, key = extents.kept[0], np.arange(extents.keys)
        following = np.minimum.accumulate(np.where(kept, key, extents.keys)[::-1])[::-1]
        preceding = np.maximum.accumulate(np.where(kept, key + 1, 0))
        first, last = np.append(following, extents.keys)[first], np.insert(preceding, 0, 0)[last]
    begin = first // tile
    return begin, np.where(first < last, -(-last // tile), begin)


def filled(extents: Extents, tile: int, counted: BoolArray) -> BoolArray:
    """Return bool [tile row, tile column], True where all cells are visible to every counted query, of one row."""
    begin, end = tiles_filled(extents, tile, counted)
    column = np.arange(-(-extents.keys // tile))
    inside: BoolArray = (begin[:, None] <= column) & (column < end[:, None])
    if extents.kept is not None:
        inside &= np.logical_and.reduceat(extents.kept[0], np.arange(0, extents.keys, tile))
    return inside


def tiles_filled(extents: Extents, tile: int, counted: BoolArray) -> tuple[IntArray, IntArray]:
    """Return the first tile column that every counted query of a tile row sees whole, as far as its keys are kept,
    and the one behind the last, int64 [tile row] each; there is none where the second is not larger."""
    first, last = extents.first[0], extents.last[0]
    columns = -(-extents.keys // tile)
    starts = np.arange(0, counted.size, tile)
    end = np.where(last == extents.keys, columns, last // tile)
    return (
        np.maximum.reduceat(np.where(counted, -(-first // tile), 0), starts),
        np.minimum.reduceat(np.where(counted, end, columns), starts),
    )


def counted_queries(meaningless: BoolArray | None, queries: int, tile: int) -> BoolArray:
    """Return which queries count, bool [query]: those that are no padding, and all of a tile row of nothing else."""
    if meaningless is None:
        return np.ones(queries, np.bool_)
    whole = np.logical_and.reduceat(meaningless, np.arange(0, queries, tile))
    counted: BoolArray = ~meaningless | np.repeat(whole, tile)[:queries]
    return counted


def _by_reason(rule: Rule, size: Lengths) -> dict[Reason, Extents]:
    """The extents of the rules of each reason, of a rule that has extents."""
    leaves: dict[Reason, list[Rule]] = {}
    for leaf in rule.leaves():
        if isinstance(leaf, Leaf):
            leaves.setdefault(leaf.reason, []).append(leaf)
    found = {reason: all_of(*group).extents(size) for reason, group in leaves.items()}
    return {reason: own for reason, own in found.items() if own is not None}


def _visible(extents: Extents, real: BoolArray) -> int:
    """Visible cells of one row's extents, of the queries bool [query] that are real."""
    first, last = extents.first[0], extents.last[0]
    if extents.kept is not None:
        before = np.concatenate([[0], np.cumsum(extents.kept[0])])
        first, last = before[first], before[last]
    return int(np.maximum(last - first, 0)[real].sum())


def round_tile(tokens: int, places: int) -> int:
    """Return the smallest of 1, 2, 5, 10, 20 ... that folds `tokens` into at most `places` tiles."""
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if step * places >= tokens:
                return step
        power *= 10
