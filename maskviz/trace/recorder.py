"""What a tapped run leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from maskviz.core.algebra import Rule
from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.masks import Delivery
from maskviz.trace.doors import to_floats, visible_cells


@dataclass(frozen=True, slots=True, eq=False)
class Heard:
    """A mask that transformers built, and the rule it was built from."""

    tensor: torch.Tensor
    rule: Rule
    query_offset: int


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """One attention call as the model made it.

    Attributes:
        module: Path of the module that ran it.
        heads, key_heads: Query and key heads.
        pattern: float32 [batch, head, query, key], before any gate.
        visible: bool [batch, 1 or head, query, key], True = may attend.
        source: The mask tensor the call received, None where it was read off the scores.
        bias: float32 added to the scores besides the mask, or None.
        delivery: How the mask came.
    """

    module: str
    heads: int
    key_heads: int
    pattern: FloatArray
    visible: BoolArray
    source: torch.Tensor | None
    bias: FloatArray | None
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Expected:
    """What the scores of an attention of this run may look like; other softmaxes are routers, windows or blocks.

    Attributes:
        rows: Rows of the batch.
        lengths: Tokens in a row, of either side of the model.
        heads: Query heads the config names, empty where it names none; only asked where batch and heads are one axis.
    """

    rows: int
    lengths: frozenset[int]
    heads: frozenset[int]

    def split(self, shape: tuple[int, ...]) -> tuple[int, int, int, int] | None:
        """[batch, head, query, key] of scores in 4 dimensions, or in 3 as [batch * head, query, key]; else None."""
        if len(shape) not in (3, 4) or not {*shape[-2:]} <= self.lengths:
            return None
        if len(shape) == 3:
            heads = shape[0] // self.rows
            if heads < 2 or shape[0] % self.rows or (self.heads and heads not in self.heads):
                return None
            shape = (self.rows, heads, *shape[1:])
        if shape[0] != self.rows:
            return None
        return shape[0], shape[1], shape[2], shape[3]


@dataclass(slots=True)
class Recorder:
    """What a tapped run leaves behind, and the gates it is to apply.

    Attributes:
        expected: What scores of this run's attention may look like.
        gates: float32 [head] or None for each attention call, in the order the calls run; empty for none.
        heard: Masks transformers built, in order.
        calls: Attention calls, in order.
        module_paths: Stack of the modules running now, innermost last.
        paused: Whether the taps look away, inside code they called themselves.
    """

    expected: Expected
    gates: Sequence[FloatArray | None] = ()
    heard: list[Heard] = field(default_factory=list)
    calls: list[Captured] = field(default_factory=list)
    module_paths: list[str] = field(default_factory=list)
    paused: bool = False
    _cells: dict[tuple[Any, ...], tuple[torch.Tensor, BoolArray]] = field(default_factory=dict)
    _biases: dict[int, tuple[torch.Tensor, FloatArray]] = field(default_factory=dict)

    @property
    def gate(self) -> FloatArray | None:
        """The gates of the call that runs next."""
        return self.gates[len(self.calls)] if len(self.calls) < len(self.gates) else None

    def cells_of(self, mask: torch.Tensor | None, shape: tuple[int, int, int]) -> BoolArray:
        """Visible cells [batch, 1 or head, query, key] of a mask tensor; one array per tensor, however many calls."""
        batch, queries, keys = shape
        if mask is None:
            return np.ones((batch, 1, queries, keys), dtype=np.bool_)
        key = (id(mask), shape)
        if key not in self._cells:  # the tensor is kept beside its cells, so that its id stays its own
            self._cells[key] = (mask, broadcast_cells(visible_cells(mask), shape))
        return self._cells[key][1]

    def bias_of(self, bias: torch.Tensor | None) -> FloatArray | None:
        """A position bias as an array, one per tensor."""
        if bias is None:
            return None
        if id(bias) not in self._biases:
            self._biases[id(bias)] = (bias, to_floats(bias))
        return self._biases[id(bias)][1]


def broadcast_cells(cells: BoolArray, shape: tuple[int, int, int]) -> BoolArray:
    """Broadcast cells to [batch, 1 or head, query, key] for (batch, query, key); heads that all agree become one."""
    batch, queries, keys = shape
    while cells.ndim < 4:
        cells = cells[None] if cells.ndim == 2 else cells[:, None]
    cells = cells[..., :keys]  # static caches come with masks longer than the keys, cut by the attention itself
    cells = np.broadcast_to(cells, (batch, cells.shape[1], queries, keys))
    return cells[:, :1] if (cells == cells[:, :1]).all() else cells
