"""What is read from a long run, against loops over the dense patterns it was pooled from."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maskviz.analyse.long import read_long
from maskviz.core.rules.algebra import Opaque
from maskviz.core.run.heads import Head
from maskviz.core.words import Stack, Statistic
from tests.long_traces import HEADS, LAYERS, QUERIES, ROWS, TILE, dense, keep, long_trace, visible

PLACES = -(-QUERIES // TILE)


@pytest.mark.parametrize("row", [0, 1])
def test_shares_are_the_mean_over_real_queries_of_what_falls_on_a_tile(row: int) -> None:
    reading = read_long(long_trace(), row)
    for layer, one in enumerate(reading.calls):
        real = [query for query in range(QUERIES) if keep()[row, query]]
        for head, down, across in np.ndindex(HEADS, PLACES, PLACES):
            queries = [query for query in real if query // TILE == down]
            lines = [dense(layer)[row, head, query, across * TILE : (across + 1) * TILE].sum() for query in queries]
            expected = np.mean(lines) if lines else 0.0
            assert one.shares[head, down, across] == pytest.approx(expected, abs=1e-6)
        sums = one.shares.sum(axis=-1)
        np.testing.assert_allclose(sums[:, ~one.meaningless], 1, atol=1e-5)


@pytest.mark.parametrize("row", [0, 1])
@pytest.mark.parametrize("layer", range(LAYERS))
def test_a_tile_is_blocked_where_no_real_query_sees_a_key_of_it(row: int, layer: int) -> None:
    one = read_long(long_trace(), row).calls[layer]
    seen = visible(row, layer) & keep()[row][:, None]
    for down, across in np.ndindex(PLACES, PLACES):
        cells = seen[down * TILE : (down + 1) * TILE, across * TILE : (across + 1) * TILE]
        assert one.blocked[down, across] == (not cells.any())


def test_a_rule_that_cannot_be_read_blocks_no_tile() -> None:
    trace = long_trace()
    unread = replace(trace, calls=(replace(trace.calls[0], rule=Opaque("own")),))
    assert not read_long(unread, 0).calls[0].blocked.any()


def test_means_are_over_real_queries_and_effective_keys_are_the_mean_of_each_query() -> None:
    one = read_long(long_trace(), 1).calls[0]
    weights = dense(0)[1].astype(np.float64)
    real = QUERIES - keep()[1].tolist().count(False)
    for head in range(HEADS):
        assert one.means[Statistic.FIRST][head] == pytest.approx(
            sum(weights[head, query, 0] for query in range(real)) / real, rel=1e-5
        )
        effective = []
        for query in range(real):
            line = weights[head, query][weights[head, query] > 0]
            effective.append(np.exp(-(line * np.log(line)).sum()))
        assert one.effective_keys is not None
        assert one.effective_keys[head] == pytest.approx(np.mean(effective), rel=1e-5)


def test_top_keys_are_the_heaviest_of_each_chosen_row() -> None:
    one = read_long(long_trace(), 0).calls[1]
    for head, number in np.ndindex(HEADS, len(ROWS)):
        line = dense(1)[0, head, ROWS[number]].tolist()
        expected = sorted(range(QUERIES), key=lambda key: (-line[key], key))[:10]
        found = one.top_keys[head, number].tolist()
        assert [key for key in found if line[key] > 0] == [key for key in expected if line[key] > 0]


def test_heads_are_ranked_by_their_mean_and_heads_without_a_number_are_left_out() -> None:
    trace = long_trace()
    first = trace.calls[0].statistics[Statistic.FIRST].copy()
    first[:, 2] = np.nan
    calls = (replace(trace.calls[0], statistics={Statistic.FIRST: first}), trace.calls[1])
    reading = read_long(replace(trace, calls=calls), 0)
    ranked = reading.ranked[Stack.DECODER, Statistic.FIRST]
    assert {one.head for one in ranked[:2]} == {Head(0, 0), Head(1, 0)}
    assert Head(0, 2) not in [one.head for one in ranked]
    assert [one.value for one in ranked] == sorted((one.value for one in ranked), reverse=True)
    assert {one.head.layer for one in reading.ranked[Stack.DECODER, Statistic.PREVIOUS]} == {1}
