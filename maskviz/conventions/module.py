"""The attn_mask of torch.nn.MultiheadAttention: [query, key], or [batch·heads, query, key] row by row of the batch."""

from __future__ import annotations

import numpy as np

from maskviz.conventions.fitting import check_room, differing
from maskviz.conventions.numbers import cells_of_booleans, cells_of_scores, scores_of_cells
from maskviz.conventions.shapes import wrong_shape
from maskviz.core.arrays import AnyArray, BoolArray
from maskviz.core.checks.case import Sizes
from maskviz.core.errors import UsageError
from maskviz.core.words import Dialect
from maskviz.core.writing import parameter


def read_module(values: AnyArray, dialect: Dialect, sizes: Sizes) -> BoolArray:
    """visible bool [batch or 1, head or 1, query, key] of True = blocked, or of numbers to add.

    Raises:
        UsageError: a 3-D mask whose first axis is not batch · heads, or where heads are not said.
    """
    if values.ndim not in (2, 3):
        raise wrong_shape(values, dialect)
    cells = (
        cells_of_scores(values, dialect) if dialect is Dialect.TORCH_MHA_FLOAT else ~cells_of_booleans(values, dialect)
    )
    if cells.ndim == 2:
        return cells[None, None]
    heads = _heads(cells.shape, sizes)
    return cells.reshape(cells.shape[0] // heads, heads, *cells.shape[1:])


def _heads(shape: tuple[int, ...], sizes: Sizes) -> int:
    """Heads of a mask [batch·heads, query, key]."""
    masks, rows, heads = shape[0], sizes.batch, sizes.heads
    if heads is None:
        if rows is None or masks % rows:
            raise UsageError(
                f"a 3-D mask of nn.MultiheadAttention is [batch·heads, query, key], and {list(shape)} does not say "
                "how many heads there are",
                parameter("heads", 8),
            )
        return masks // rows
    if masks % heads or (rows is not None and masks != rows * heads):
        wanted = f"{rows}·{heads} = {rows * heads}" if rows is not None else f"batch·{heads}"
        without = f": {list(shape)} is [batch, query, key], without its heads" if rows in (None, masks) else ""
        raise UsageError(
            f"a 3-D mask of nn.MultiheadAttention has {wanted} masks, and this one {masks}{without}",
            f"mask.repeat_interleave({heads}, dim=0)",
        )
    return heads


def write_module(visible: BoolArray, dialect: Dialect, sizes: Sizes, dtype: str) -> AnyArray:
    """[query, key] where all rows and heads see the same, else [batch·heads, query, key].

    Raises:
        UsageError: rows differ and nobody says how many heads there are.
    """
    cells = visible[0, 0]
    if differing(visible, "row") is not None or differing(visible, "head") is not None:
        heads = visible.shape[1] if visible.shape[1] > 1 else sizes.heads
        if heads is None:
            raise UsageError(
                f"{dialect} has a mask for each row and head where rows differ, and the heads are not said",
                parameter("heads", 8),
            )
        rows, _, queries, keys = visible.shape
        check_room((rows * heads, queries, keys))
        cells = np.broadcast_to(visible, (rows, heads, queries, keys)).reshape(rows * heads, queries, keys)
    return scores_of_cells(cells, -np.inf, dtype) if dialect is Dialect.TORCH_MHA_FLOAT else ~cells
