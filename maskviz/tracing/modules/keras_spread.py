"""Weights, masks and outputs of Keras' attention over any axes, laid out as [row, head, query, key]."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import BoolArray, FloatArray


@dataclass(frozen=True, slots=True)
class Spread:
    """Weights [batch ..., head, query ..., key ...] as [row, head, query, key].

    Attributes:
        shape: Theirs.
        axes: How many axes queries, and keys, have.
    """

    shape: tuple[int, ...]
    axes: int

    @property
    def rows(self) -> int:
        """Rows of the batch."""
        return math.prod(self.shape[: self._head])

    @property
    def heads(self) -> int:
        """Query heads."""
        return self.shape[self._head]

    @property
    def square(self) -> tuple[int, int]:
        """Queries and keys."""
        return math.prod(self.shape[self._head + 1 : -self.axes]), math.prod(self.shape[-self.axes :])

    @property
    def _head(self) -> int:
        return len(self.shape) - 2 * self.axes - 1

    def flat(self, weights: FloatArray) -> FloatArray:
        """float32 [row, head, query, key]."""
        return weights.reshape(self.rows, self.heads, *self.square)

    def cells(self, mask: BoolArray | None) -> BoolArray:
        """bool [1 or row, 1 or head, query, key] of a mask, which may lack the axis of heads and others before it."""
        if mask is None:
            return np.ones((1, 1, 1, 1), np.bool_)
        for _ in range(len(self.shape) - mask.ndim):
            mask = np.expand_dims(mask, -2 * self.axes - 1)
        heads = mask.shape[self._head]
        batch = mask.shape[:1] if self._head == 1 else self.shape[: self._head]
        whole = (*batch, heads, *self.shape[self._head + 1 :])
        return np.broadcast_to(mask, whole).reshape(math.prod(batch), heads, *self.square)

    def padding(self, masks: list[BoolArray], axes: tuple[int, ...]) -> BoolArray | None:
        """bool [row, key], False = padding, of masks [batch ..., key ...]; None where they do not lie like that."""
        keys = self.square[1]
        trailing = axes == tuple(range(self._head, self._head + self.axes))
        fitting = [one.reshape(-1, keys) for one in masks if trailing and one.size == self.rows * keys]
        return np.logical_and.reduce(fitting) if fitting else None


def with_even_rows(
    weights: FloatArray, visible: BoolArray, output: FloatArray, value: FloatArray, *, within: float
) -> FloatArray:
    """Weights with those of queries that may attend to nothing, as a fused kernel has them.

    Asked for its scores, a layer says 0 there; its kernel lowers all scores alike, and mixes all values evenly. Where
    the output is that mixture, its weights are said.

    Args:
        weights: float32 [row, head, query, key], as the layer returns them.
        visible: bool, broadcastable to it.
        output: float32 [row, query, head, width] of the kernel.
        value: float32 [row, key, head, width].
        within: How far from the mixture an output may be, as a part of the largest value.
    """
    blocked = np.broadcast_to(~visible.any(-1), weights.shape[:3])
    if not blocked.any():
        return weights
    mean = value.mean(axis=1)[:, :, None]
    near = np.abs(output.swapaxes(1, 2) - mean) <= within * float(np.abs(value).max())
    return np.where((blocked & near.all(-1))[..., None], np.float32(1 / weights.shape[-1]), weights)
