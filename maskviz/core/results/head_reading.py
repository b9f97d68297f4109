"""What is read of the heads of a run: means over queries, usual offsets, roles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import DoubleArray, IntArray, sealed
from maskviz.core.results.head_roles import RoleScore
from maskviz.core.words import HeadStatistic, Stack


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Measured:
    """One statistic of the heads of a layer.

    Attributes:
        mean: float64 [head], over the queries it says something of; NaN where there is none.
        chance: float64 [head], the same under uniform attention over the keys each of these queries sees.
        queries: int64 [head], how many queries that are.
    """

    mean: DoubleArray
    chance: DoubleArray
    queries: IntArray

    def __repr__(self) -> str:
        return f"<Measured: {len(self.mean)} heads>"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", sealed(self.mean, np.float64))
        object.__setattr__(self, "chance", sealed(self.chance, np.float64))
        object.__setattr__(self, "queries", sealed(self.queries, np.int64))


@dataclass(frozen=True, slots=True)
class OffsetShare:
    """How much attention falls on one relative position.

    Attributes:
        offset: key - query, in tokens.
        share: Of the head's attention, mean over its queries.
        chance: The same under uniform attention.
    """

    offset: int
    share: float
    chance: float


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class LayerReading:
    """The heads of one attention, over the queries of all texts.

    Attributes:
        stack, layer, heads: Which attention, and how many heads it has.
        measured: The statistics that make sense for it.
        offsets: For each head the relative positions of most attention, most first; empty for cross attention.
        usual: int64 [head], the offset most queries have their largest weight at; None for cross attention.
        undefined: int64 [head], queries left out because their attention is not a number.
        roles: For each head its roles, the one farthest above its threshold first.
    """

    stack: Stack
    layer: int
    heads: int
    measured: Mapping[HeadStatistic, Measured]
    offsets: tuple[tuple[OffsetShare, ...], ...]
    usual: IntArray | None
    undefined: IntArray
    roles: tuple[tuple[RoleScore, ...], ...]

    def __repr__(self) -> str:
        return f"<LayerReading: {self.stack} layer {self.layer}, {self.heads} heads>"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class HeadReading:
    """What the heads of a run look like.

    Attributes:
        layers: One for each attention that has a pattern, in the order they ran.
        tokens: Real tokens of each text, on the encoder's side where there are two.
    """

    layers: tuple[LayerReading, ...]
    tokens: tuple[int, ...]

    def __repr__(self) -> str:
        return f"<HeadReading of {len(self.layers)} layers>"

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """The stacks that were read, in order."""
        return tuple(dict.fromkeys(layer.stack for layer in self.layers))
