"""Statistics of heads against loops over queries and keys, written from their definitions."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from maskviz.analyse.head_statistics import read_heads
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import HeadStatistic, Role, Stack
from tests.head_traces import attention, mask_of, trace_of, traces

_H = HeadStatistic


def rows_of(trace: Trace, call: AttentionCall, head: int) -> list[tuple[int, int, list[int], list[float]]]:
    """Every query that counts: its text, its place, the keys it sees, and its weights."""
    assert call.pattern is not None
    visible = np.broadcast_to(call.mask.visible, call.pattern.shape)
    found = []
    for row in range(trace.batch.rows):
        for query in range(call.pattern.shape[2]):
            keys = np.flatnonzero(visible[row, head, query]).tolist()
            place = query + call.mask.query_offset
            if trace.batch.keep[row, place] and len(keys) >= 2:
                found.append((row, place, keys, [float(one) for one in call.pattern[row, head, query]]))
    return found


def target(trace: Trace, kind: HeadStatistic, row: int, query: int, key: int) -> bool:
    """Whether the weight of a query on a key belongs to a share."""
    batch = trace.batch
    ids, roles = batch.ids[row].tolist(), batch.roles[row]
    match kind:
        case _H.SINK:
            return key == int(batch.keep[row].argmax())
        case _H.SPECIAL:
            return roles[key] is Role.SPECIAL
        case _H.PREVIOUS:
            return key == query - 1
        case _H.NEXT:
            return key == query + 1
        case _H.ITSELF:
            return key == query
        case _H.DUPLICATE:
            return key != query and ids[key] == ids[query] and roles[key] is roles[query] is Role.TEXT
        case _H.INDUCTION:
            before = key - 1
            return 0 <= before < query and ids[before] == ids[query] and roles[before] is roles[query] is Role.TEXT
    raise AssertionError(kind)


SHARES = (_H.SINK, _H.SPECIAL, _H.PREVIOUS, _H.NEXT, _H.ITSELF, _H.DUPLICATE, _H.INDUCTION)


def expected_share(trace: Trace, call: AttentionCall, head: int, kind: HeadStatistic) -> tuple[float, float, int]:
    values, chances = [], []
    for row, query, keys, weights in rows_of(trace, call, head):
        hit = [key for key in keys if target(trace, kind, row, query, key)]
        if hit:
            values.append(sum(weights[key] for key in hit))
            chances.append(len(hit) / len(keys))
    count = len(values)
    return (sum(values) / count, sum(chances) / count, count) if count else (math.nan, math.nan, 0)


def expected_value(trace: Trace, call: AttentionCall, head: int, kind: HeadStatistic) -> tuple[float, float, int]:
    values, chances = [], []
    for _, query, keys, weights in rows_of(trace, call, head):
        entropy = -sum(one * math.log(one) for one in weights if one > 0)
        own, chance = {
            _H.ENTROPY: (entropy, math.log(len(keys))),
            _H.SPREAD: (entropy / math.log(len(keys)), 1.0),
            _H.REACH: (
                sum(weights[key] * abs(query - key) for key in keys)
                / sum(abs(query - key) / len(keys) for key in keys),
                1.0,
            ),
            _H.DISTANCE: (
                sum(weights[key] * abs(query - key) for key in keys),
                sum(abs(query - key) for key in keys) / len(keys),
            ),
        }[kind]
        values.append(own)
        chances.append(chance)
    count = len(values)
    return (sum(values) / count, sum(chances) / count, count) if count else (math.nan, math.nan, 0)


@settings(max_examples=40, deadline=None)
@given(trace=traces())
def test_means_chance_and_counts_are_those_of_a_loop_over_queries(trace: Trace) -> None:
    reading = read_heads(trace)
    expected: Callable[[Trace, AttentionCall, int, HeadStatistic], tuple[float, float, int]]
    for call, layer in zip(trace.calls, reading.layers, strict=True):
        for kind, measured in layer.measured.items():
            if kind is _H.POSITIONAL:
                continue
            expected = expected_share if kind in SHARES else expected_value
            for head in range(call.heads):
                found = (measured.mean[head], measured.chance[head], measured.queries[head])
                np.testing.assert_allclose(found, expected(trace, call, head, kind), atol=1e-5, err_msg=kind)


@settings(max_examples=40, deadline=None)
@given(trace=traces())
def test_offsets_are_those_of_a_loop_over_cells(trace: Trace) -> None:
    for call, layer in zip(trace.calls, read_heads(trace).layers, strict=True):
        for head in range(call.heads):
            rows = rows_of(trace, call, head)
            shares: Counter[int] = Counter()
            chances: Counter[int] = Counter()
            largest: Counter[int] = Counter()
            for _, query, keys, weights in rows:
                for key in keys:
                    shares[key - query] += weights[key]  # type: ignore[assignment]
                    chances[key - query] += 1 / len(keys)  # type: ignore[assignment]
                largest[max(keys, key=lambda key: weights[key]) - query] += 1
            for one, (_, share) in zip(layer.offsets[head], shares.most_common(3), strict=False):
                assert one.share == pytest.approx(share / len(rows), abs=1e-5)
                assert one.share == pytest.approx(shares[one.offset] / len(rows), abs=1e-5)
                assert one.chance == pytest.approx(chances[one.offset] / len(rows), abs=1e-6)
            if rows:
                assert layer.usual is not None
                usual, positional = int(layer.usual[head]), layer.measured[_H.POSITIONAL]
                able = [keys for _, query, keys, _ in rows if query + usual in keys]
                assert largest[usual] == max(largest.values())
                assert positional.queries[head] == len(able)
                assert positional.mean[head] == pytest.approx(largest[usual] / len(able))
                assert positional.chance[head] == pytest.approx(sum(1 / len(keys) for keys in able) / len(able))


@settings(max_examples=20, deadline=None)
@given(trace=traces())
def test_uniform_attention_is_at_chance_in_every_statistic(trace: Trace) -> None:
    calls = []
    for call in trace.calls:
        visible = np.broadcast_to(call.mask.visible, (trace.batch.rows, call.heads, *call.mask.visible.shape[2:]))
        uniform = visible / np.maximum(visible.sum(-1, keepdims=True), 1)
        calls.append(replace(call, pattern=uniform.astype(np.float32)))
    for layer in read_heads(replace(trace, calls=tuple(calls))).layers:
        for kind, measured in layer.measured.items():
            if kind is not _H.POSITIONAL:  # where all weights are equal, the first key is taken for the largest
                np.testing.assert_allclose(measured.mean, measured.chance, atol=1e-5, err_msg=kind)


def test_padding_changes_nothing() -> None:
    alone, padded = trace_of(3, lengths=(6,)), trace_of(3, lengths=(6,))
    wide = np.zeros((1, 1, 8, 8), np.bool_)
    wide[:, :, :6, :6] = alone.calls[0].mask.visible
    wide[:, :, 6:, 0] = True  # a padding query looks somewhere, and must not count
    pattern = np.zeros((1, 3, 8, 8), np.float32)
    pattern[:, :, :6, :6] = alone.calls[0].pattern
    pattern[:, :, 6:, 0] = 1
    batch = replace(
        padded.batch,
        ids=np.pad(padded.batch.ids, ((0, 0), (0, 2))),
        keep=np.pad(padded.batch.keep, ((0, 0), (0, 2))),
        tokens=((*padded.batch.tokens[0], "", ""),),
        roles=((*padded.batch.roles[0], Role.PADDING, Role.PADDING),),
    )
    other = replace(padded, batch=batch, calls=(replace(alone.calls[0], mask=mask_of(wide), pattern=pattern),))
    first, second = read_heads(alone).layers[0], read_heads(other).layers[0]
    for kind, measured in first.measured.items():
        np.testing.assert_array_equal(measured.mean, second.measured[kind].mean)
        np.testing.assert_array_equal(measured.queries, second.measured[kind].queries)
    assert first.offsets == second.offsets


def test_rows_that_are_not_numbers_are_left_out_and_counted() -> None:
    trace = trace_of(1, lengths=(6,))
    assert trace.calls[0].pattern is not None
    broken = trace.calls[0].pattern.copy()
    broken[0, 1, 3] = np.nan
    layer = read_heads(replace(trace, calls=(replace(trace.calls[0], pattern=broken),))).layers[0]
    assert layer.undefined.tolist() == [0, 1, 0]
    assert layer.measured[_H.ENTROPY].queries.tolist() == [5, 4, 5]
    assert np.isfinite(layer.measured[_H.ENTROPY].mean).all()


def test_counted_queries_are_the_only_ones() -> None:
    trace = trace_of(2, lengths=(8,))
    counted = np.zeros((1, 8), np.bool_)
    counted[0, 5:7] = True
    assert read_heads(trace, counted).layers[0].measured[_H.ENTROPY].queries.tolist() == [2, 2, 2]


def test_a_single_token_has_no_number_and_no_role() -> None:
    layer = read_heads(trace_of(0, lengths=(1,))).layers[0]
    assert all(np.isnan(one.mean).all() and not one.queries.any() for one in layer.measured.values())
    assert layer.roles == ((), (), ())
    assert layer.offsets == ((), (), ())


def test_a_sink_outside_the_text_takes_from_shares_and_not_from_distance_or_entropy() -> None:
    trace = trace_of(4, lengths=(7,))
    whole = trace.calls[0]
    assert whole.pattern is not None
    half = replace(trace, calls=(replace(whole, pattern=(whole.pattern / 2).astype(np.float32)),))
    first, second = (read_heads(one).layers[0].measured for one in (trace, half))
    for kind in (_H.ENTROPY, _H.DISTANCE, _H.REACH, _H.SPREAD):
        np.testing.assert_allclose(second[kind].mean, first[kind].mean, atol=1e-6)
    np.testing.assert_allclose(second[_H.PREVIOUS].mean, first[_H.PREVIOUS].mean / 2, atol=1e-6)


def test_cross_attention_has_only_what_makes_sense_of_it() -> None:
    trace, other = trace_of(0, lengths=(5, 4)), trace_of(1, lengths=(7, 3))
    visible = np.broadcast_to(other.batch.keep[:, None, None, :], (2, 1, 5, 7))
    pattern = attention(np.random.default_rng(0), visible, 3)
    call = AttentionCall(Stack.CROSS, 0, "cross", 3, 3, mask_of(visible), pattern)
    crossed = replace(trace, batch=replace(other.batch, decoder=trace.batch), calls=(call,))
    layer = read_heads(crossed).layers[0]
    assert set(layer.measured) == {_H.ENTROPY, _H.SPREAD, _H.SINK, _H.SPECIAL}
    assert layer.offsets == () and layer.usual is None
    assert layer.measured[_H.SINK].queries.tolist() == [9, 9, 9]
    expected = np.concatenate([pattern[0, :, :, 0], pattern[1, :, :4, 0]], axis=1).mean(axis=1)
    np.testing.assert_allclose(layer.measured[_H.SINK].mean, expected, atol=1e-6)
