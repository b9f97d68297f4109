"""What a long run says: shares of attention per tile, means of its heads' statistics, and which heads stand out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskviz.analyse.sparsity import mask_cost
from maskviz.core.arrays import BoolArray, FloatArray, IntArray
from maskviz.core.results.long_reading import CallReading, LongReading, RankedHead
from maskviz.core.results.results import RuledLayers
from maskviz.core.rules.algebra import Rule
from maskviz.core.rules.extents import Lengths
from maskviz.core.run.heads import Head
from maskviz.core.run.long import LongCall, LongTrace
from maskviz.core.words import Stack, Statistic
from maskviz.core.writing import ranges

_TOP = 10


def read_long(trace: LongTrace, row: int) -> LongReading:
    """Read one text of a long run.

    Args:
        trace: The run.
        row: Row of the batch.
    """
    blocked: dict[tuple[Stack, Rule], BoolArray] = {}  # calls that share a rule share what it blocks
    for call in trace.calls:
        if (call.stack, call.rule) not in blocked:
            real = trace.real_queries(call)[row]
            blocked[call.stack, call.rule] = blocked_tiles(call, row, real, trace.tile)
    calls = tuple(read_call(trace, call, row, blocked[call.stack, call.rule]) for call in trace.calls)
    ranked = {
        (stack, statistic): ranked_heads([one for one in calls if one.call.stack is stack], statistic)
        for stack in trace.stacks
        for statistic in Statistic
        if any(one.call.stack is stack and statistic in one.means for one in calls)
    }
    return LongReading(row, calls, ranked, *_masks(trace, row))


def _masks(trace: LongTrace, row: int) -> tuple[tuple[RuledLayers, ...], tuple[tuple[str, str], ...]]:
    """The distinct rules of a run for one row, with their costs; and those that cannot be counted, in words."""
    sharing: dict[tuple[Stack, Rule], list[LongCall]] = {}
    for call in trace.calls:
        sharing.setdefault((call.stack, call.rule), []).append(call)
    told, untold = [], []
    for (stack, rule), calls in sharing.items():
        layers = [call.layer for call in calls]
        every = len(layers) > 1 and len(layers) == len(trace.of_stack(stack))
        words = "all layers" if every else f"layer{'s' if len(layers) > 1 else ''} {ranges(layers)}"
        name = f"{stack.value} {words}" if len(trace.stacks) > 1 else words
        cost = mask_cost(rule.of_row(row), Lengths(calls[0].queries, calls[0].keys)) if rule.readable else None
        if cost is None:
            untold.append((name, str(rule)))
        else:
            told.append(RuledLayers(name, len(layers), cost, None))
    return tuple(told), tuple(untold)


def read_call(trace: LongTrace, call: LongCall, row: int, blocked: BoolArray) -> CallReading:
    """Read one attention on one text, with its `blocked_tiles`."""
    real = trace.real_queries(call)[row]
    counted = per_tile(real, trace.tile)
    statistics = {statistic: values[row] for statistic, values in call.statistics.items()}
    entropy = statistics.get(Statistic.ENTROPY)
    rows = call.rows[row]
    return CallReading(
        call=call,
        meaningless=counted == 0,
        blocked=blocked,
        shares=shares_of(call.sums[row], counted),
        largest=call.largest[row],
        statistics=statistics,
        means={statistic: mean_of(values) for statistic, values in statistics.items()},
        effective_keys=None if entropy is None else mean_of(np.exp(entropy)),
        rows=rows,
        top_keys=top_keys(rows, _TOP),
        region=None if call.region is None else call.region[row],
    )


def per_tile(real: BoolArray, tile: int) -> IntArray:
    """Return int64 [tile]: how many of bool [token] are True in each run of `tile` tokens."""
    counted: IntArray = np.add.reduceat(real.astype(np.int64), np.arange(0, len(real), tile))
    return counted


def shares_of(sums: FloatArray, counted: IntArray) -> FloatArray:
    """Return the share of the attention of a tile row's real queries that falls on each tile of keys.

    Args:
        sums: float32 [head, tile row, tile column].
        counted: int64 [tile row], real queries in each; a row without any is 0.
    """
    shares: FloatArray = (sums / np.maximum(counted, 1)[:, None]).astype(np.float32)
    return shares


def mean_of(values: FloatArray) -> FloatArray:
    """Return float32 [head], the mean over the queries of [head, query] that are numbers; NaN where none is."""
    known = ~np.isnan(values)
    total = np.where(known, values, 0).sum(axis=-1, dtype=np.float64)
    count = known.sum(axis=-1)
    mean: FloatArray = np.where(count > 0, total / np.maximum(count, 1), np.nan).astype(np.float32)
    return mean


def top_keys(rows: FloatArray, count: int) -> IntArray:
    """Return int64 [..., place], the numbers of the largest of [..., key], largest first, at most `count`."""
    count = min(count, rows.shape[-1])
    largest = np.sort(np.argpartition(-rows, count - 1, axis=-1)[..., :count], axis=-1)
    order = np.argsort(-np.take_along_axis(rows, largest, axis=-1), axis=-1, kind="stable")
    found: IntArray = np.take_along_axis(largest, order, axis=-1)
    return found


def ranked_heads(calls: Sequence[CallReading], statistic: Statistic) -> tuple[RankedHead, ...]:
    """Return the heads of some calls by the mean of a statistic, largest first; equals keep their order."""
    heads = [
        RankedHead(Head(one.call.layer, head), float(value))
        for one in calls
        if statistic in one.means
        for head, value in enumerate(one.means[statistic].tolist())
        if not np.isnan(value)
    ]
    return tuple(sorted(heads, key=lambda ranked: -ranked.value))


def blocked_tiles(call: LongCall, row: int, real: BoolArray, tile: int) -> BoolArray:
    """Return bool [tile row, tile column], True where no real query of a tile may see a key of it.

    It is asked of how far each query sees; a rule that is no single run of keys per query blocks no whole tile here.
    """
    shape = call.sums.shape[2:]
    found = call.rule.extents(Lengths(call.queries, call.keys))
    if found is None:
        return np.zeros(shape, dtype=np.bool_)
    extents = found.of_row(row)
    kept = np.ones(call.keys, np.bool_) if extents.kept is None else extents.kept[0]
    before = np.concatenate([[0], np.cumsum(kept)])  # kept keys before each key
    edges = np.minimum(np.arange(shape[1] + 1) * tile, call.keys)
    first = np.clip(extents.first[0][:, None], edges[:-1], edges[1:])
    last = np.clip(extents.last[0][:, None], edges[:-1], edges[1:])
    sees = (before[np.maximum(first, last)] > before[first]) & real[:, None]
    blocked: BoolArray = ~np.logical_or.reduceat(sees, np.arange(0, call.queries, tile), axis=0)
    return blocked
