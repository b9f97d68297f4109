"""Masks of cells with four axes: transformers' additive mask, sdpa's booleans, flax's ones, and FlexAttention's cells.
Keras's, of three."""

from __future__ import annotations

import numpy as np

from maskviz.conventions.fitting import one_for_all
from maskviz.conventions.numbers import (
    cells_of_booleans,
    cells_of_ones,
    cells_of_scores,
    least,
    scores_of_cells,
)
from maskviz.conventions.shapes import wrong_shape
from maskviz.core.arrays import AnyArray, BoolArray
from maskviz.core.words import Dialect


def read_cells(values: AnyArray, dialect: Dialect) -> BoolArray:
    """visible bool [batch or 1, head or 1, query, key].

    Fewer axes are taken as torch broadcasts them, [query, key] and [head, query, key], where the dialect's attention
    adds or applies a mask so.
    """
    broadcasts = dialect in (Dialect.SDPA, Dialect.HF_4D)
    if values.ndim != 4 and not (broadcasts and values.ndim in (2, 3)):
        raise wrong_shape(values, dialect)
    cells = values.reshape((1,) * (4 - values.ndim) + values.shape)
    if dialect is Dialect.HF_4D or (dialect is Dialect.SDPA and values.dtype.kind == "f"):
        return cells_of_scores(cells, dialect)
    return cells_of_ones(cells, dialect) if dialect is Dialect.FLAX else cells_of_booleans(cells, dialect)


def read_keras(values: AnyArray) -> BoolArray:
    """visible bool [batch, 1, query, key] of 1 = attend."""
    if values.ndim != 3:
        raise wrong_shape(values, Dialect.KERAS)
    return cells_of_ones(values, Dialect.KERAS)[:, None]


def write_cells(visible: BoolArray, dialect: Dialect, dtype: str) -> AnyArray:
    """The mask with its four axes: numbers to add for hf-4d, else 1 or True = attend."""
    if dialect is Dialect.HF_4D:
        return scores_of_cells(visible, least(dtype), dtype)
    return visible.astype(dtype)


def write_keras(visible: BoolArray, dtype: str) -> AnyArray:
    """[batch, query, key], 1 = attend."""
    one_for_all(visible, Dialect.KERAS, "head")
    return np.asarray(visible[:, 0].astype(dtype))
