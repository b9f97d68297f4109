"""Maps of a long run: pooled ones over runs of tokens, and a region at full resolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maskviz.core.arrays import BoolArray, FloatArray, top_value
from maskviz.core.panels.page import HeadGrid, HeadTile, Heatmap, Pooled, Token
from maskviz.core.results.long_reading import CallReading
from maskviz.core.rules.algebra import Grid
from maskviz.core.run.long import LongCall, LongTrace, Region
from maskviz.core.words import Scale
from maskviz.view.choosing import tokens_of
from maskviz.view.masks.regions import region_words
from maskviz.view.pictures import rows_words

_SHARES = "the share of its queries' attention that falls on its keys"
_LARGEST = "the largest weight in it"


def runs_of(count: int, tile: int) -> tuple[Token, ...]:
    """An axis of `count` tokens in runs of `tile`, each named by the number of its first token."""
    return tuple(Token(str(first), count=min(tile, count - first), place=first) for first in range(0, count, tile))


def pooled_grid(trace: LongTrace, calls: Sequence[CallReading], heads: Sequence[int], scale: Scale) -> HeadGrid:
    """Small maps of the chosen heads of some calls of one stack, layers down: shares of attention per tile."""
    tiles = [
        HeadTile(line, column, one.shares[head], one.blocked, one.meaningless)
        for line, one in enumerate(calls)
        for column, head in enumerate(heads)
        if head < one.call.heads
    ]
    return HeadGrid(
        title=f"{_stack(trace, calls[0].call)}attention of each head",
        caption="each map: queries down, keys across",
        row_names=tuple(f"layer {one.call.layer}" for one in calls),
        column_names=tuple(f"head {head}" for head in heads),
        tiles=tuple(tiles),
        scale=scale,
        top=top_value(tile.values for tile in tiles),
        unit="share of attention",
        pooled=Pooled(trace.tile, _SHARES, max(float(one.largest.max()) for one in calls)),
    )


def pooled_maps(trace: LongTrace, one: CallReading, head: int, scale: Scale) -> tuple[Heatmap, Heatmap]:
    """The pooled maps of one head, large: the share of attention per tile, and the largest weight in it."""
    call = one.call
    name = head_name(trace, call, head)
    largest = float(one.largest[head].max())
    shares = Heatmap(
        title=f"{name}: shares",
        caption=rows_words(one.shares[head][~one.meaningless], trace.card.dtype, "a run of queries"),
        values=one.shares[head],
        blocked=one.blocked,
        queries=runs_of(call.queries, trace.tile),
        keys=runs_of(call.keys, trace.tile),
        meaningless=one.meaningless,
        scale=scale,
        top=top_value([one.shares[head]]),
        unit="share of attention",
        pooled=Pooled(trace.tile, _SHARES, largest),
    )
    peaks = replace(
        shares,
        title=f"{name}: peaks",
        caption="each place: the one query and key with most weight",
        values=one.largest[head],
        top=top_value([one.largest[head]]),
        unit="attention",
        pooled=Pooled(trace.tile, _LARGEST, largest),
    )
    return shares, peaks


def region_grid(
    trace: LongTrace, calls: Sequence[CallReading], heads: Sequence[int], row: int, region: Region, scale: Scale
) -> HeadGrid:
    """Small maps of a region, a cell for each query and key."""
    grid = pooled_grid(trace, calls, heads, scale)
    tiles = [
        replace(tile, values=values, blocked=blocked, meaningless=meaningless)
        for tile in grid.tiles
        for one in [calls[tile.row]]
        for values, blocked, meaningless in [_cells(trace, one, heads[tile.column], row, region)]
    ]
    return replace(
        grid,
        title=f"{grid.title}, {region_words(region)}",
        tiles=tuple(tiles),
        top=top_value(tile.values[~tile.meaningless] for tile in tiles),
        unit="attention",
        pooled=None,
    )


def region_map(trace: LongTrace, one: CallReading, head: int, row: int, region: Region, scale: Scale) -> Heatmap:
    """A region of one head, a cell for each query and key."""
    values, blocked, meaningless = _cells(trace, one, head, row, region)
    down, across = trace.sides(one.call)
    return Heatmap(
        title=f"{head_name(trace, one.call, head)}, {region_words(region)}",
        caption="a part of the map, at full resolution",
        values=values,
        blocked=blocked,
        queries=tokens_of(down, row, region.last_query - region.first_query, region.first_query),
        keys=tokens_of(across, row, region.last_key - region.first_key, region.first_key),
        meaningless=meaningless,
        scale=scale,
        top=top_value([values[~meaningless]]),
    )


def _cells(
    trace: LongTrace, one: CallReading, head: int, row: int, region: Region
) -> tuple[FloatArray, BoolArray, BoolArray]:
    """Values and blocked cells [query, key] of a region within the one that was kept, and meaningless [query]."""
    kept = trace.region
    assert kept is not None
    assert one.region is not None
    down = slice(region.first_query - kept.first_query, region.last_query - kept.first_query)
    across = slice(region.first_key - kept.first_key, region.last_key - kept.first_key)
    meaningless = ~trace.real_queries(one.call)[row][region.queries]
    return one.region[head][down, across], _blocked(one.call, row, region), meaningless


def _blocked(call: LongCall, row: int, region: Region) -> BoolArray:
    """bool [query, key] of a region; nothing is blocked where the rule cannot be read."""
    queries, keys = region.last_query - region.first_query, region.last_key - region.first_key
    if not call.rule.readable:
        return np.zeros((queries, keys), dtype=np.bool_)
    at = Grid.of(1, queries, keys, region.first_query, region.first_key)
    at = replace(at, batch=at.batch + row)
    blocked: BoolArray = ~np.broadcast_to(call.rule.visible(at), at.shape)[0, 0]
    return blocked


def head_name(trace: LongTrace, call: LongCall, head: int) -> str:
    """A head as titles name it, with its stack where there are several."""
    return f"{_stack(trace, call)}head {call.layer}.{head}"


def _stack(trace: LongTrace, call: LongCall) -> str:
    return f"{call.stack.value} " if len(trace.stacks) > 1 else ""
