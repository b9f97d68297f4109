"""Attention between words against loops over their tokens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskviz.analyse.head_statistics import read_heads
from maskviz.analyse.rollout import rolled_out
from maskviz.analyse.sinks import without_sinks
from maskviz.analyse.word_merging import merged_words
from maskviz.core.errors import UsageError
from maskviz.core.run.grouping import Grouping
from maskviz.core.run.trace import Trace
from tests.head_traces import trace_of, traces


def grouping_of(trace: Trace, seed: int) -> Grouping:
    """Words of one or more tokens at random; padding is one word behind them."""
    dice = np.random.default_rng(seed)
    groups, names = np.zeros(trace.batch.ids.shape, np.int64), []
    for row, keep in enumerate(trace.batch.keep):
        begins = dice.random(int(keep.sum())) < 0.5
        begins[0] = False
        groups[row, keep] = np.cumsum(begins)
        count = int(begins.sum()) + 1
        groups[row, ~keep] = count
        names.append(tuple(f"w{word}" for word in range(count + (not keep.all()))))
    return Grouping(groups, tuple(names))


@settings(max_examples=40, deadline=None)
@given(trace=traces(offsets=False), seed=st.integers(0, 1000), sinks=st.booleans())
def test_attention_to_a_word_is_a_sum_and_from_it_a_mean_of_tokens_that_see(
    trace: Trace, seed: int, sinks: bool
) -> None:
    trace = without_sinks(trace)[0] if sinks else trace
    words = grouping_of(trace, seed)
    for call, merged in zip(trace.calls, merged_words(trace, words).calls, strict=True):
        assert call.pattern is not None and merged.pattern is not None
        visible = np.broadcast_to(call.mask.visible, call.pattern.shape)
        sees = np.broadcast_to(merged.mask.visible, merged.pattern.shape)
        for row, head in np.ndindex(trace.batch.rows, call.heads):
            of_word = [np.flatnonzero(words.groups[row] == word).tolist() for word in range(len(words.names[row]))]
            for down, across in np.ndindex(len(of_word), len(of_word)):
                seeing = [query for query in of_word[down] if visible[row, head, query].any()]
                each = [sum(float(call.pattern[row, head, one, key]) for key in of_word[across]) for one in seeing]
                assert merged.pattern[row, head, down, across] == pytest.approx(
                    sum(each) / len(each) if each else 0.0, abs=1e-6
                )
                expected = any(visible[row, head, query, key] for query in of_word[down] for key in of_word[across])
                assert sees[row, head, down, across] == expected
            for down, tokens in enumerate(of_word):
                if visible[row, head, tokens].any():
                    assert merged.pattern[row, head, down].sum() == pytest.approx(1, abs=1e-5)


@settings(max_examples=15, deadline=None)
@given(trace=traces(offsets=False), seed=st.integers(0, 1000))
def test_words_can_be_read_and_rolled_out_as_tokens_are(trace: Trace, seed: int) -> None:
    words = grouping_of(trace, seed)
    merged = merged_words(trace, words)
    rows = zip(words.groups, trace.batch.keep, strict=True)
    assert read_heads(merged).tokens == tuple(len(set(row[keep].tolist())) for row, keep in rows)
    for call in merged_words(rolled_out(trace), words).calls:
        assert call.pattern is not None
        np.testing.assert_allclose(call.pattern.sum(-1)[merged.batch.keep[:, None]], 1, atol=1e-5)


def test_words_of_their_own_change_nothing() -> None:
    trace = trace_of(5, lengths=(6, 6))
    words = Grouping(np.tile(np.arange(6), (2, 1)), (tuple("abcdef"),) * 2)
    for before, after in zip(trace.calls, merged_words(trace, words).calls, strict=True):
        assert before.pattern is not None and after.pattern is not None
        np.testing.assert_allclose(after.pattern, before.pattern, atol=1e-7)
        assert np.array_equal(after.mask.visible, before.mask.visible)


def test_a_call_behind_a_cache_has_no_words() -> None:
    trace = trace_of(0, lengths=(5,), offset=2)
    with pytest.raises(UsageError, match="more or less than the tokens"):
        merged_words(trace, grouping_of(trace, 0))
