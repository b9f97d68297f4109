"""What is read from one long text of a `LongTrace`: per head, over its real queries."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from maskviz.core.arrays import BoolArray, FloatArray, IntArray
from maskviz.core.results.results import RuledLayers
from maskviz.core.run.heads import Head
from maskviz.core.run.long import LongCall
from maskviz.core.words import Stack, Statistic


@dataclass(frozen=True, slots=True, eq=False)
class CallReading:
    """One attention on one text.

    Attributes:
        call: The attention.
        meaningless: bool [tile row], True where every query of the tile is padding.
        blocked: bool [tile row, tile column], True where the rule lets no real query of a tile see a key of it; all
            False where the rule cannot say so.
        shares: float32 [head, tile row, tile column], the share of the attention of a tile's real queries that falls
            on its keys; 0 in meaningless rows.
        largest: float32, same shape: the largest weight in a tile.
        statistics: float32 [head, query] each, NaN where the query is padding.
        means: float32 [head] each: the mean over real queries.
        effective_keys: float32 [head]: exp(entropy) of each real query, then their mean; None without entropy.
        rows: float32 [head, chosen row, key], attention of the chosen rows.
        top_keys: int64 [head, chosen row, place]: the keys of most weight, most first.
        region: float32 [head, query, key] at full resolution, or None.
    """

    call: LongCall
    meaningless: BoolArray
    blocked: BoolArray
    shares: FloatArray
    largest: FloatArray
    statistics: Mapping[Statistic, FloatArray]
    means: Mapping[Statistic, FloatArray]
    effective_keys: FloatArray | None
    rows: FloatArray
    top_keys: IntArray
    region: FloatArray | None


@dataclass(frozen=True, slots=True)
class RankedHead:
    """A head with a statistic's mean over the real queries."""

    head: Head
    value: float


@dataclass(frozen=True, slots=True, eq=False)
class LongReading:
    """One text of a long run.

    Attributes:
        row: Row of the batch.
        calls: One for each call of the run, in its order.
        ranked: The heads of a stack by each statistic, largest mean first; heads without a number are left out.
        masks: The distinct rules with the layers that share them, and what they cost.
        untold: Layers of which there is no picture of the mask, and their rule in words.
    """

    row: int
    calls: tuple[CallReading, ...]
    ranked: Mapping[tuple[Stack, Statistic], tuple[RankedHead, ...]]
    masks: tuple[RuledLayers, ...] = ()
    untold: tuple[tuple[str, str], ...] = ()
