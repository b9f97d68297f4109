"""Masks of keys alone: transformers' attention_mask and torch's key_padding_mask, [batch, key]."""

from __future__ import annotations

import numpy as np

from maskviz.conventions.fitting import one_for_all
from maskviz.conventions.numbers import cells_of_booleans, cells_of_ones, cells_of_scores
from maskviz.conventions.shapes import wrong_shape
from maskviz.core.arrays import AnyArray, BoolArray
from maskviz.core.words import Dialect


def read_hf_2d(values: AnyArray) -> BoolArray:
    """visible bool [batch, 1, 1, key] of 1 = keep."""
    if values.ndim != 2:
        raise wrong_shape(values, Dialect.HF_2D)
    return cells_of_ones(values, Dialect.HF_2D)[:, None, None, :]


def read_torch_padding(values: AnyArray) -> BoolArray:
    """visible bool [batch, 1, 1, key] of True = blocked; torch also takes floats that are added, and [key]."""
    if values.ndim not in (1, 2):
        raise wrong_shape(values, Dialect.TORCH_PADDING)
    rows = values.reshape(-1, values.shape[-1])
    if values.dtype.kind == "f":
        return cells_of_scores(rows, Dialect.TORCH_PADDING)[:, None, None, :]
    return ~cells_of_booleans(rows, Dialect.TORCH_PADDING)[:, None, None, :]


def write_hf_2d(visible: BoolArray, dtype: str) -> AnyArray:
    """[batch, key], 1 = keep."""
    return _keep(visible, Dialect.HF_2D).astype(dtype)


def write_torch_padding(visible: BoolArray) -> AnyArray:
    """bool [batch, key], True = blocked."""
    return ~_keep(visible, Dialect.TORCH_PADDING)


def _keep(visible: BoolArray, dialect: Dialect) -> BoolArray:
    one_for_all(visible, dialect, "query", "head")
    return np.asarray(visible[:, 0, 0])
