"""One forward pass over a long text as a value: no array in it grows with the square of the text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from maskviz.core.arrays import BoolArray, FloatArray, sealed
from maskviz.core.rules.algebra import Rule
from maskviz.core.run.trace import Batch, ModelCard
from maskviz.core.words import Stack, Statistic, Way


@dataclass(frozen=True, slots=True)
class Region:
    """A part of a map at full resolution: queries from `first_query` to before `last_query`, keys likewise."""

    first_query: int
    last_query: int
    first_key: int
    last_key: int

    def __str__(self) -> str:
        return f"{self.first_query}:{self.last_query},{self.first_key}:{self.last_key}"

    @property
    def queries(self) -> slice:
        """The queries as a slice."""
        return slice(self.first_query, self.last_query)

    @property
    def keys(self) -> slice:
        """The keys as a slice."""
        return slice(self.first_key, self.last_key)


@dataclass(frozen=True, slots=True, eq=False)
class LongCall:
    """One attention of one layer over a long text, pooled into tiles of `LongTrace.tile` tokens a side.

    Queries that are padding take no part: neither in a tile nor in a statistic.

    Attributes:
        stack, layer, module, heads, key_heads: As in `AttentionCall`.
        rule: The rule in force, `Opaque` where it could not be read.
        queries, keys: Tokens along the two axes.
        sums: float32 [batch, head, tile row, tile column], sum of the attention in a tile. Divided by the real queries
            of its tile row it is the share of their attention that falls on a tile of keys, and tile rows sum to 1.
        largest: float32, same shape: the largest attention in a tile.
        statistics: float32 [batch, head, query] each, NaN where the query is padding; those that make no sense for a
            call (the previous token, in cross attention) are not in it.
        rows: float32 [batch, head, chosen row, key], the rows of `LongTrace.rows` at full resolution.
        region: float32 [batch, head, query, key] of `LongTrace.region`, or None.
        way: How it was computed.
        difference: Largest absolute difference, on sampled rows, to the weights of the model's own eager attention;
            None where the weights are the model's own.
    """

    stack: Stack
    layer: int
    module: str
    heads: int
    key_heads: int
    rule: Rule
    queries: int
    keys: int
    sums: FloatArray
    largest: FloatArray
    statistics: Mapping[Statistic, FloatArray]
    rows: FloatArray
    region: FloatArray | None
    way: Way
    difference: float | None = None

    def __post_init__(self) -> None:
        for name in ("sums", "largest", "rows", "region"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, sealed(value, np.float32))
        object.__setattr__(self, "statistics", {name: sealed(one, np.float32) for name, one in self.statistics.items()})
        batch = self.sums.shape[0]
        if self.sums.shape != self.largest.shape or self.sums.shape[:2] != (batch, self.heads):
            raise ValueError(f"{self.module}: sums {self.sums.shape} and largest {self.largest.shape} do not fit")
        for name, one in self.statistics.items():
            if one.shape != (batch, self.heads, self.queries):
                raise ValueError(f"{self.module}: {name} has shape {one.shape}")


@dataclass(frozen=True, slots=True, eq=False)
class LongTrace:
    """One forward pass over a long text.

    Attributes:
        card: The model.
        batch: What went in.
        calls: Every attention call, in the order they ran.
        tile: Tokens along a side of a tile; the last tile of an axis may be shorter.
        rows: Numbers of the queries that are kept at full resolution, ascending.
        region: What is kept at full resolution of every head, or None.
        sampled: Rows of each call that were compared with the model's own eager attention.
        notes: Sentences the reader must see next to the pictures.
    """

    card: ModelCard
    batch: Batch
    calls: tuple[LongCall, ...]
    tile: int
    rows: tuple[int, ...] = ()
    region: Region | None = None
    sampled: int = 0
    notes: tuple[str, ...] = field(default=())

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """The stacks that ran, in order."""
        return tuple(dict.fromkeys(call.stack for call in self.calls))

    def of_stack(self, stack: Stack) -> tuple[LongCall, ...]:
        """The calls of one stack, in order."""
        return tuple(call for call in self.calls if call.stack is stack)

    def real_queries(self, call: LongCall) -> BoolArray:
        """bool [batch, query], False where the query is padding and its row has no meaning."""
        side = self.sides(call)[0]
        return side.keep if side.length == call.queries else np.ones((side.rows, call.queries), dtype=np.bool_)

    def sides(self, call: LongCall) -> tuple[Batch, Batch]:
        """The batches a call's queries and keys are tokens of."""
        if call.stack is Stack.ENCODER or self.batch.decoder is None:
            return self.batch, self.batch
        return self.batch.decoder, self.batch if call.stack is Stack.CROSS else self.batch.decoder

    def with_notes(self, before: tuple[str, ...]) -> LongTrace:
        """The same run with more notes, ahead of its own."""
        return replace(self, notes=(*before, *self.notes))
