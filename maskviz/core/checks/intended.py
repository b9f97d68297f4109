"""What the author of a mask file means, where that is plain and its dialect reads something else."""

from __future__ import annotations

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray
from maskviz.core.checks.case import GivenArray
from maskviz.core.checks.dialects import BLOCKED
from maskviz.core.words import Dialect

# Dialects whose numbers are added to the scores; of sdpa those that are no booleans.
ADDITIVE = (Dialect.HF_4D, Dialect.TORCH_MHA_FLOAT, Dialect.SDPA)
TORCH_MHA = (Dialect.TORCH_MHA, Dialect.TORCH_MHA_FLOAT)


def ones_and_zeros(array: GivenArray) -> bool:
    """Whether numbers that are to be added are all 0 or 1, and some are 1: they say what to keep, and block nothing."""
    values = array.values
    if array.dialect not in ADDITIVE or values.ndim < 2 or not values.size:
        return False
    if array.dialect is Dialect.SDPA and values.dtype.kind == "b":
        return False
    return bool(((values == 0) | (values == 1)).all() and (values == 1).any())


def weak_constant(array: GivenArray) -> float | None:
    """The one number besides 0 of an additive mask, where it is negative and too small to block for sure; else None."""
    if array.dialect not in ADDITIVE or array.values.dtype.kind != "f":
        return None
    levels = np.unique(array.values)
    return float(levels[0]) if len(levels) == 2 and levels[1] == 0 and BLOCKED < levels[0] < 0 else None


def upside_down_padding(array: GivenArray) -> bool:
    """Whether a mask of padding hides the text and keeps the padding.

    It is said where the shape tells: a row keeps nothing, so that the longest text is no text, no row keeps all, as the
    longest text would, and upside down every row is text with padding at one end, the same in all rows. Zeros before
    ones alone tell nothing: that is padding on the left. Nor does a mask that keeps nothing anywhere.
    """
    visible = array.visible
    if visible is None or not visible.size or array.dialect in (Dialect.HEAD_MASK, Dialect.WEIGHTS):
        return False
    rows: BoolArray = np.asarray(visible[:, 0, 0])
    if (visible != rows[:, None, None]).any() or not rows.any() or rows.all(axis=1).any() or rows.any(axis=1).all():
        return False
    return at_one_end(~rows)


def at_one_end(keep: BoolArray) -> bool:
    """Whether every row [batch, token] keeps a run of tokens from its first on, or every row one up to its last."""
    rises, falls = (keep[:, 1:] > keep[:, :-1]).any(), (keep[:, 1:] < keep[:, :-1]).any()
    return bool((keep[:, 0].all() and not rises) or (keep[:, -1].all() and not falls))


def in_head_order(array: GivenArray) -> bool:
    """Whether a mask [batch x heads, query, key] for nn.MultiheadAttention repeats the batch for every head, where
    torch reads all heads of a row before the next row."""
    return repeated_rows(array) is not None


def repeated_rows(array: GivenArray) -> int | None:
    """Rows of the batch that a 3-D mask for nn.MultiheadAttention repeats as a whole, None where it repeats none.

    Only masks that differ in their padding are taken for those of rows: heads may have masks of their own, and then
    repeating them for every row is right.
    """
    masks = array.values
    if array.dialect not in TORCH_MHA or masks.ndim != 3 or not masks.size:
        return None
    sizes = [batch_of(array)] if array.sizes.heads is not None else range(2, len(masks) // 2 + 1)
    for rows in sizes:
        if rows is not None and len(masks) % rows == 0 and bool((masks[rows:] == masks[:-rows]).all()):
            return rows if _differ_in_padding(np.asarray(masks[:rows] == 0)) else None
    return None


def _differ_in_padding(visible: BoolArray) -> bool:
    """Whether masks [row, query, key] are one mask in which each row hides keys of its own, or tokens of its own."""
    seen: BoolArray = np.asarray(visible.any(axis=1))
    keys = np.asarray(visible.any(axis=0)) & seen[:, None, :]
    tokens = keys & seen[:, :, None] if visible.shape[1] == visible.shape[2] else keys
    return bool((seen != seen[:1]).any() and ((visible == keys).all() or (visible == tokens).all()))


def batch_of(array: GivenArray) -> int | None:
    """Rows of the batch of a mask [batch x heads, query, key]; None where it is none, or for one row or one head."""
    heads, values = array.sizes.heads, array.values
    if array.dialect not in TORCH_MHA or values.ndim != 3 or not heads or heads < 2 or not values.size:
        return None
    rows, rest = divmod(values.shape[0], heads)
    return rows if not rest and rows > 1 and array.sizes.batch in (None, rows) else None


def meant_by(array: GivenArray) -> BoolArray | None:
    """bool [batch or 1, head or 1, query or 1, key], True = what the author means a query to see; None where that is
    not plain."""
    if ones_and_zeros(array):
        return _with_four_axes(array.values != 0, array.sizes.heads)
    if array.visible is not None and weak_constant(array) is not None:
        return np.asarray((array.values == 0).reshape(array.visible.shape))
    if in_head_order(array) and array.visible is not None and array.sizes.heads:
        rows = array.values.shape[0] // array.sizes.heads
        of_torch = array.visible.reshape(array.sizes.heads, rows, *array.visible.shape[2:])
        return np.asarray(of_torch.swapaxes(0, 1))
    return array.visible


def _with_four_axes(cells: AnyArray, heads: int | None) -> BoolArray | None:
    if cells.ndim == 2:
        return np.asarray(cells[None, None], np.bool_)
    if cells.ndim == 3:
        rows = cells.shape[0]
        if heads and heads > 1 and rows % heads == 0:
            return np.asarray(cells.reshape(rows // heads, heads, *cells.shape[1:]), np.bool_)
        return np.asarray(cells[:, None], np.bool_)
    return np.asarray(cells, np.bool_) if cells.ndim == 4 else None
