"""What is kept of attention that is seen block by block: tiles, statistics of every query, chosen rows, a region."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from maskviz.core.arrays import BoolArray, FloatArray, IntArray
from maskviz.core.run.long import Region
from maskviz.core.words import Statistic
from maskviz.tracing.calling import to_array
from maskviz.tracing.meaning.evidence import Earlier


@dataclass(frozen=True, slots=True)
class Keeping:
    """What of each call is kept.

    Attributes:
        tile: Tokens along a side of a tile.
        rows: Numbers of the queries kept at full resolution, ascending.
        region: A part kept at full resolution, or None.
        layers: The layers of which anything is kept; None for all.
    """

    tile: int
    rows: tuple[int, ...] = ()
    region: Region | None = None
    layers: frozenset[int] | None = None

    def wants(self, layer: int) -> bool:
        """Whether anything of a layer is kept."""
        return self.layers is None or layer in self.layers


@dataclass(frozen=True, slots=True, eq=False)
class Sides:
    """The tokens along the two axes of a call; one entry for each row of the batch.

    Attributes:
        queries, keys: Tokens along each axis.
        meant: bool [batch, query], False where the query is padding and takes no part.
        first: Each row's first real key, [1].
        special, padding: Keys that are special tokens, that are padding, ascending.
        own: Whether both axes are the same tokens, so that "itself" and "earlier" mean something.
        earlier: Where each token stood before; empty unless `own`.
    """

    queries: int
    keys: int
    meant: BoolArray
    first: tuple[IntArray, ...]
    special: tuple[IntArray, ...]
    padding: tuple[IntArray, ...]
    own: bool
    earlier: tuple[Earlier, ...] = ()


@dataclass(frozen=True, slots=True)
class TilePlace:
    """Where a block of weights [head, query, key] lies in a call."""

    row: int
    first_head: int
    first_query: int
    first_key: int


@dataclass(frozen=True, slots=True, eq=False)
class Tallied:
    """What was added up of one call: `sums`, `largest`, `statistics`, `rows` and `region` as in `LongCall`."""

    sums: FloatArray
    largest: FloatArray
    statistics: Mapping[Statistic, FloatArray]
    rows: FloatArray
    region: FloatArray | None


class Tally:
    """One call's attention, added up block by block.

    Blocks come as `blocks_of` cuts them: whole tiles of queries, or a part of one tile.
    """

    def __init__(self, keeping: Keeping, sides: Sides, heads: int, device: torch.device) -> None:
        """Keep nothing yet of a call of so many query heads."""
        self._keeping, self._sides = keeping, sides
        self._kinds = _kinds(sides)
        batch, tile = len(sides.meant), keeping.tile
        shape = (batch, heads, -(-sides.queries // tile), -(-sides.keys // tile))
        self._sums = torch.zeros(shape, device=device)
        self._largest = torch.zeros(shape, device=device)
        self._statistics = torch.full((len(self._kinds), batch, heads, sides.queries), torch.nan, device=device)
        self._rows = torch.zeros((batch, heads, len(keeping.rows), sides.keys), device=device)
        self._region = None
        if keeping.region is not None:
            down, across = (one.stop - one.start for one in (keeping.region.queries, keeping.region.keys))
            self._region = torch.zeros((batch, heads, down, across), device=device)

    def add(self, place: TilePlace, weights: torch.Tensor, entropy: torch.Tensor | None = None) -> None:
        """Add weights [head, query, key] of one row of the batch, and their entropy [head, query] if it is known."""
        heads, queries, _ = weights.shape
        at = slice(place.first_head, place.first_head + heads)
        rows = slice(place.first_query, place.first_query + queries)
        self._keep_parts(place, weights, at)
        meant = self._sides.meant[place.row, rows]
        if not meant.any():
            return
        measured = torch.stack(self._measured(place, weights, entropy))
        if not meant.all():
            padding = torch.as_tensor(~meant, device=weights.device)
            weights, measured = weights.masked_fill(padding[:, None], 0.0), measured.masked_fill(padding, torch.nan)
        self._statistics[:, place.row, at, rows] = measured
        self._pool(place, weights, at)

    def _pool(self, place: TilePlace, weights: torch.Tensor, at: slice) -> None:
        heads, queries, keys = weights.shape
        tile = self._keeping.tile
        tiles = max(1, queries // tile)
        grouped = weights.view(heads, tiles, queries // tiles, keys)
        before = place.first_key % tile
        padding = (before, -(before + keys) % tile)
        down = slice(place.first_query // tile, place.first_query // tile + tiles)
        first = place.first_key // tile
        across = slice(first, first + (before + keys + padding[1]) // tile)
        summed = torch.nn.functional.pad(grouped.sum(2), padding).view(heads, tiles, -1, tile).sum(3)
        largest = torch.nn.functional.pad(grouped.amax(2), padding).view(heads, tiles, -1, tile).amax(3)
        self._sums[place.row, at, down, across] += summed
        kept = self._largest[place.row, at, down, across]
        torch.maximum(kept, largest, out=kept)

    def _measured(self, place: TilePlace, weights: torch.Tensor, entropy: torch.Tensor | None) -> list[torch.Tensor]:
        """The statistics [head, query] of a block, in the order of their kinds."""
        sides = self._sides
        measured = {
            Statistic.ENTROPY: _entropy(weights) if entropy is None else entropy,
            Statistic.FIRST: _on(weights, place, sides.first[place.row]),
        }
        if sides.own:
            behind = place.first_query - place.first_key  # column of the block's first query
            measured[Statistic.ITSELF] = _along(weights, behind)
            measured[Statistic.PREVIOUS] = _along(weights, behind - 1)
            measured[Statistic.DISTANCE] = _distance(weights, behind)
            measured[Statistic.INDUCTION] = sides.earlier[place.row].mass(weights, place.first_query, place.first_key)
        if Statistic.SPECIAL in self._kinds:
            measured[Statistic.SPECIAL] = _on(weights, place, sides.special[place.row])
        if Statistic.PADDING in self._kinds:
            measured[Statistic.PADDING] = _on(weights, place, sides.padding[place.row])
        return [measured[kind] for kind in self._kinds]

    def _keep_parts(self, place: TilePlace, weights: torch.Tensor, at: slice) -> None:
        _, queries, keys = weights.shape
        columns = slice(place.first_key, place.first_key + keys)
        for number, row in enumerate(self._keeping.rows):
            if place.first_query <= row < place.first_query + queries:
                self._rows[place.row, at, number, columns] = weights[:, row - place.first_query]
        region = self._keeping.region
        if region is None or self._region is None:
            return
        down, here = _overlap(region.queries, place.first_query, queries)
        across, there = _overlap(region.keys, place.first_key, keys)
        self._region[place.row, at, down, across] = weights[:, here, there]

    def rows(self, numbers: list[int]) -> torch.Tensor:
        """Weights [batch, head, number, key] of kept rows, by their numbers among them."""
        return self._rows[:, :, numbers]

    def kept(self, numbers: list[int]) -> Tallied:
        """What was added up, with these of the rows."""
        statistics = zip(self._kinds, self._statistics, strict=True)
        return Tallied(
            sums=to_array(self._sums),
            largest=to_array(self._largest),
            statistics={kind: to_array(one) for kind, one in statistics},
            rows=to_array(self.rows(numbers)),
            region=None if self._region is None else to_array(self._region),
        )


def blocks_of(queries: int, tile: int, most: int) -> list[tuple[int, int]]:
    """Cut queries into blocks (first, behind the last) of at most `most`, each whole tiles or a part of one tile."""
    if tile < most:
        step, whole = most // tile * tile, queries // tile * tile
        blocks = [(first, min(first + step, whole)) for first in range(0, whole, step)]
        return blocks if whole == queries else [*blocks, (whole, queries)]
    size = -(-tile // -(-tile // most))
    return [
        (first, min(first + size, start + tile, queries))
        for start in range(0, queries, tile)
        for first in range(start, min(start + tile, queries), size)
    ]


def _kinds(sides: Sides) -> tuple[Statistic, ...]:
    """The statistics that mean something for a call."""
    own = (Statistic.ITSELF, Statistic.PREVIOUS, Statistic.DISTANCE, Statistic.INDUCTION) if sides.own else ()
    special = (Statistic.SPECIAL,) if any(map(len, sides.special)) else ()
    padding = (Statistic.PADDING,) if any(map(len, sides.padding)) else ()
    return (Statistic.ENTROPY, Statistic.FIRST, *own, *special, *padding)


def _entropy(weights: torch.Tensor) -> torch.Tensor:
    """Entropy [head, query] in nats of weights [head, query, key], of which 0 counts nothing."""
    entropy: torch.Tensor = torch.special.entr(weights).sum(-1)
    return entropy


def _on(weights: torch.Tensor, place: TilePlace, keys: IntArray) -> torch.Tensor:
    """What falls on some keys, [head, query]."""
    first, last = np.searchsorted(keys, (place.first_key, place.first_key + weights.shape[2]))
    inside = torch.as_tensor(keys[first:last] - place.first_key, device=weights.device)
    return weights[:, :, inside].sum(-1)


def _along(weights: torch.Tensor, behind: int) -> torch.Tensor:
    """What each query puts on the key in the column of its own number plus `behind`, [head, query]; 0 outside."""
    queries, keys = weights.shape[1:]
    first, last = max(0, -behind), max(0, min(queries, keys - behind))
    found = weights.new_zeros(weights.shape[:2])
    if first < last:
        found[:, first:last] = weights[:, first:last, first + behind : last + behind].diagonal(dim1=1, dim2=2)
    return found


def _distance(weights: torch.Tensor, behind: int) -> torch.Tensor:
    """Mean of |query - key| in tokens, [head, query], the first query standing in column `behind`.

    That is the mean of query - key, and twice what keys ahead take from it; numbers stay small where distances are.
    """
    queries, keys = weights.shape[1:]
    query = torch.arange(queries, device=weights.device, dtype=weights.dtype)
    key = torch.arange(keys, device=weights.device, dtype=weights.dtype) - behind
    signed: torch.Tensor = query * weights.sum(-1) - (weights.flatten(0, 1) @ key).view(weights.shape[:2])
    if behind + 1 >= keys:
        return signed
    start = max(0, behind)
    ahead = (key[start:] - query[:, None]).clamp(min=0)
    turned: torch.Tensor = torch.linalg.vecdot(weights[:, :, start:], ahead)
    return signed + 2 * turned


def _overlap(wanted: slice, first: int, count: int) -> tuple[slice, slice]:
    """Where a wanted range and a block meet: within the range, and within the block."""
    start, stop = max(wanted.start, first), min(wanted.stop, first + count)
    if stop <= start:
        return slice(0, 0), slice(0, 0)
    return slice(start - wanted.start, stop - wanted.start), slice(start - first, stop - first)
