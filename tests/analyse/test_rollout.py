"""Head means, attention rollout and attention without sinks, against loops and against what must hold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from maskviz.analyse.rollout import head_means, rolled_out
from maskviz.analyse.sinks import without_sinks
from maskviz.core.errors import UsageError
from maskviz.core.run.trace import Trace
from maskviz.core.words import Role
from tests.head_traces import trace_of, traces

Matrix = list[list[float]]


def times(first: Matrix, second: Matrix) -> Matrix:
    """The product of two square matrices."""
    size = range(len(first))
    return [[sum(first[row][k] * second[k][column] for k in size) for column in size] for row in size]


def layer_matrix(trace: Trace, layer: int, row: int) -> Matrix:
    """0.5 of the heads' mean and 0.5 of the identity, each row over its sum; padding passes on itself alone."""
    pattern = trace.calls[layer].pattern
    assert pattern is not None
    length = trace.batch.length
    found = []
    for query in range(length):
        real = bool(trace.batch.keep[row, query])
        line = [
            (0.5 * sum(float(pattern[row, head, query, key]) for head in range(3)) / 3 if real else 0.0)
            + (0.5 if key == query else 0.0)
            for key in range(length)
        ]
        found.append([one / sum(line) for one in line])
    return found


@settings(max_examples=25, deadline=None)
@given(trace=traces(offsets=False))
def test_rollout_is_the_product_of_the_layers_matrices(trace: Trace) -> None:
    rolled = rolled_out(trace)
    for row in range(trace.batch.rows):
        expected = layer_matrix(trace, 0, row)
        for layer, call in enumerate(rolled.calls):
            if layer:
                expected = times(layer_matrix(trace, layer, row), expected)
            assert call.pattern is not None
            np.testing.assert_allclose(call.pattern[row, 0], expected, atol=1e-6)
            assert not call.pattern[row, 0][~call.mask.visible[row, 0]].any()
            np.testing.assert_allclose(call.pattern[row, 0].sum(-1), 1, atol=1e-6)


def test_attention_of_padding_that_is_not_a_number_does_not_spread() -> None:
    trace = trace_of(0, lengths=(5, 3), causal=False)
    broken = []
    for call in trace.calls:
        assert call.pattern is not None
        pattern = call.pattern.copy()
        pattern[1, :, 3:] = np.nan
        broken.append(replace(call, pattern=pattern))
    for call in rolled_out(replace(trace, calls=tuple(broken))).calls:
        assert call.pattern is not None and np.isfinite(call.pattern).all()


def test_behind_a_cache_there_is_no_rollout() -> None:
    with pytest.raises(UsageError, match="3 queries and 5 keys"):
        rolled_out(trace_of(0, lengths=(5,), offset=2))


def test_layers_of_different_lengths_have_no_rollout() -> None:
    long, short = trace_of(0, lengths=(6,)), trace_of(0, lengths=(4,))
    with pytest.raises(UsageError, match="layer 1 has 4 queries and 4 keys"):
        rolled_out(replace(long, calls=(long.calls[0], short.calls[1])))


def test_cross_attention_has_no_rollout() -> None:
    with pytest.raises(UsageError, match="cross attention"):
        rolled_out(trace_of(0), "cross")


@settings(max_examples=15, deadline=None)
@given(trace=traces())
def test_the_mean_of_a_layer_is_over_its_heads(trace: Trace) -> None:
    for call, mean in zip(trace.calls, head_means(trace).calls, strict=True):
        assert call.pattern is not None and mean.pattern is not None
        expected = sum(call.pattern[:, head].astype(np.float64) for head in range(3)) / 3
        np.testing.assert_allclose(mean.pattern[:, 0], expected, atol=1e-6)
        assert np.array_equal(mean.mask.visible[:, 0], call.mask.visible.any(axis=1))


@settings(max_examples=40, deadline=None)
@given(trace=traces())
def test_without_sinks_each_row_is_what_is_left_over_its_sum(trace: Trace) -> None:
    without, said = without_sinks(trace)
    emptied = 0
    for call, left in zip(trace.calls, without.calls, strict=True):
        assert call.pattern is not None and left.pattern is not None
        visible = np.broadcast_to(call.mask.visible, call.pattern.shape)
        sees = np.broadcast_to(left.mask.visible, call.pattern.shape)
        for row, head, query in np.ndindex(*call.pattern.shape[:3]):
            first = trace.batch.keep[row].tolist().index(True)
            roles = trace.batch.roles[row]
            kept = [
                key
                for key in np.flatnonzero(visible[row, head, query]).tolist()
                if key != first and roles[key] is not Role.SPECIAL
            ]
            total = sum(float(call.pattern[row, head, query, key]) for key in kept)
            expected = np.zeros(call.pattern.shape[3])
            for key in kept if total else []:
                expected[key] = float(call.pattern[row, head, query, key]) / total
            np.testing.assert_allclose(left.pattern[row, head, query], expected, atol=1e-5)
            assert np.flatnonzero(sees[row, head, query]).tolist() == (kept if total else [])
            real = trace.batch.keep[row, query + call.mask.query_offset]
            emptied += bool(real and visible[row, head, query].any() and not total)
    assert (f" {emptied} row" in said) == bool(emptied)
