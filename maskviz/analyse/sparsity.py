"""What a rule leaves to compute: cells and blocks, counted from how far each query sees."""

from __future__ import annotations

import numpy as np

from maskviz.core.arrays import IntArray
from maskviz.core.results.results import BlockCount, MaskCost
from maskviz.core.rules.algebra import Rule
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.core.rules.folding import count_cells, tiles_filled, tiles_seen
from maskviz.core.rules.folding_cells import blocks_of_cells, by_cells, count_every_cell

BLOCK = 128  # FlexAttention's default


def mask_cost(rule: Rule, size: Lengths) -> MaskCost | None:
    """Return what attention under a rule costs, for its first row; None where `Rule.extents` is."""
    count, blocks = count_cells(rule, size), count_blocks(rule, size)
    return None if count is None or blocks is None else MaskCost(rule, size, count, blocks)


def cost_of_cells(rule: Rule, size: Lengths) -> MaskCost | None:
    """As `mask_cost`, of any rule that can be read, cell by cell; None where there are too many."""
    if not by_cells(rule, size):
        return None
    full, partial = blocks_of_cells(rule, size, BLOCK)
    blocks = -(-size.queries // BLOCK) * -(-size.keys // BLOCK)
    return MaskCost(rule, size, count_every_cell(rule, size), BlockCount(BLOCK, full, partial, blocks - full - partial))


def count_blocks(rule: Rule, size: Lengths, side: int = BLOCK) -> BlockCount | None:
    """Count the blocks of a rule's first row as torch's `create_block_mask` does, without its square.

    What lies beyond the end of the text in the last block of an axis is not visible, so that such a block is partial
    at most. Linear in queries and keys, up to a sort within each row of blocks. None where `Rule.extents` is.
    """
    extents = rule.extents(size)
    if extents is None:
        return None
    rows, columns = -(-size.queries // side), -(-size.keys // side)
    seen, full = _seen_blocks(extents, side), _full_blocks(extents, side)
    return BlockCount(side, full, seen - full, rows * columns - seen)


def _seen_blocks(extents: Extents, side: int) -> int:
    """Blocks with a visible cell: in each row of blocks, the union of the runs of block columns its queries see."""
    rank = _kept_before(extents, side, least=1)
    begin, end = (_rows_of_blocks(rank[edge], side) for edge in tiles_seen(extents, side))
    order = np.argsort(begin, axis=1, kind="stable")
    begin, end = np.take_along_axis(begin, order, axis=1), np.take_along_axis(end, order, axis=1)
    reached = np.maximum.accumulate(end, axis=1)
    known = np.concatenate([np.zeros_like(reached[:, :1]), reached[:, :-1]], axis=1)
    return int(np.maximum(end - np.maximum(begin, known), 0).sum())


def _full_blocks(extents: Extents, side: int) -> int:
    """Blocks that lie within the text and are visible to each of their queries."""
    queries = extents.first.shape[1]
    rank = _kept_before(extents, side, least=side)
    begin, end = (rank[edge] for edge in tiles_filled(extents, side, np.ones(queries, np.bool_)))
    return int(np.maximum(end - begin, 0)[: queries // side].sum())


def _kept_before(extents: Extents, side: int, least: int) -> IntArray:
    """How many of the block columns before each one have at least so many kept keys, int64 [block column + 1]."""
    kept = np.ones(extents.keys, np.bool_) if extents.kept is None else extents.kept[0]
    keys = np.add.reduceat(kept, np.arange(0, extents.keys, side), dtype=np.int64)
    return np.concatenate([[0], np.cumsum(keys >= least)])


def _rows_of_blocks(values: IntArray, side: int) -> IntArray:
    """int64 [query] as [row of blocks, query within], the last row filled up with zeros."""
    rows: IntArray = np.pad(values, (0, -values.size % side)).reshape(-1, side)
    return rows
