"""What a mask says of the positions of its tokens."""

from __future__ import annotations

import numpy as np

from maskviz.core.arrays import BoolArray, IntArray


def starts_of_blocks(visible: BoolArray) -> list[int]:
    """First tokens of the blocks on the diagonal of a mask bool [query, key]; one block where it does not fall apart,
    none where it is not square or a token stands alone."""
    tokens = len(visible)
    if visible.shape != (tokens, tokens) or not tokens:
        return []
    together = visible | visible.T
    starts = [0, *(place for place in range(1, tokens) if not together[place:, :place].any())]
    lengths = np.diff([*starts, tokens])
    return starts if (lengths > 1).all() else []


def positions_of(visible: BoolArray, keep: BoolArray) -> IntArray | None:
    """The position each token of a tree has: the number of keys it sees less one.

    Args:
        visible: bool [query, key].
        keep: bool [token], False = padding.

    Returns:
        int64 [token], -1 for padding and for tokens that do not see themselves. None where the mask is no tree: a query
        sees ahead, does not see the first token, or not what is seen by a key it sees (windows, strides). None for the
        plain triangle, too.
    """
    tokens = len(visible)
    if visible.shape != (tokens, tokens) or keep.shape != (tokens,) or np.triu(visible, 1).any():
        return None
    real = np.flatnonzero(np.diagonal(visible) & keep)
    seen: BoolArray = np.asarray(visible[np.ix_(real, real)])
    through = (seen.astype(np.float32) @ seen.astype(np.float32)) > 0
    roots = seen[:, 0].all() if len(real) else False
    if (
        not roots
        or (through != seen).any()
        or (seen == np.tril(np.ones_like(seen))).all()
        or visible[real].sum() != seen.sum()
    ):
        return None
    positions = np.full(tokens, -1, np.int64)
    positions[real] = seen.sum(axis=1) - 1
    return positions
