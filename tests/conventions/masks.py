"""Masks to convert, and the reference every framework's attention is held to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskviz.core.arrays import AnyArray, BoolArray
from maskviz.tracing.attend import attend_heads

BATCH, HEADS, QUERIES, KEYS, WIDTH = 2, 3, 5, 7, 8
_QUERY, _KEY = np.arange(QUERIES)[:, None], np.arange(KEYS)[None, :]
LENGTHS = np.array([7, 4])

# [batch, 1, 1, key]
PADDING: BoolArray = (LENGTHS[:, None] > _KEY)[:, None, None, :]
# [1, 1, query, key]: the last queries of the keys
CAUSAL: BoolArray = (_KEY <= _QUERY + KEYS - QUERIES)[None, None]
WINDOW: BoolArray = CAUSAL & (_QUERY + KEYS - QUERIES - _KEY < 3)[None, None]
BOTH: BoolArray = CAUSAL & PADDING
# [batch, head, query, key], every head and row another; each query sees something
BY_HEAD: BoolArray = np.random.default_rng(0).random((BATCH, HEADS, QUERIES, KEYS)) < 0.5
BY_HEAD[..., 0] = True


@dataclass(frozen=True, slots=True)
class Inputs:
    """Random queries [batch, head, query, width], and keys and values [batch, head, key, width]."""

    query: Tensor
    key: Tensor
    value: Tensor


def inputs() -> Inputs:
    generator = torch.Generator().manual_seed(1)

    def drawn(length: int) -> Tensor:
        return torch.randn(BATCH, HEADS, length, WIDTH, generator=generator)

    return Inputs(drawn(QUERIES), drawn(KEYS), drawn(KEYS))


def reference(given: Inputs, visible: BoolArray) -> Tensor:
    """What attention of a mask is, [batch, head, query, width], by the house's own attention written to be read."""
    cells = torch.from_numpy(np.array(np.broadcast_to(visible, (BATCH, HEADS, QUERIES, KEYS))))
    mixed, _ = attend_heads(given.query, given.key, given.value, cells, scale=1 / math.sqrt(WIDTH))
    return mixed


def joined(heads: Tensor) -> Tensor:
    """[batch, head, token, width] -> [batch, token, head · width]."""
    return heads.transpose(1, 2).flatten(2)


def close(result: Any, expected: Tensor, tolerance: float = 1e-5) -> None:
    """Assert that a framework's result is the reference's."""
    array: AnyArray = np.asarray(result)
    np.testing.assert_allclose(array, expected.numpy(), atol=tolerance, rtol=0)
