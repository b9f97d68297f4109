"""The pages of `maskviz heads`, of made-up runs: what is counted, left out, and listed."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from maskviz.analyse.head_statistics import read_heads
from maskviz.analyse.rollout import head_means, rolled_out
from maskviz.analyse.sinks import without_sinks
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import HeadGrid, Heatmap, Matrix, Note, Page, Table, Tone
from maskviz.core.run.trace import SilentLayer, Trace
from maskviz.core.words import HeadStatistic, Stack
from maskviz.view.choosing import Choice
from maskviz.view.heads.heads import HeadsAsked, heads_page, worth
from maskviz.view.heads.maps import maps_page
from tests.head_traces import trace_of
from tests.pages_of_heads import only, text_of

Golden = Callable[[str, str], None]


def page_of_heads(trace: Trace, by: HeadStatistic = HeadStatistic.ENTROPY, choice: Choice | None = None) -> Page:
    return heads_page(trace, read_heads(trace), HeadsAsked(choice or Choice(), by))


def broken(trace: Trace) -> Trace:
    """The run with a row of one head that is no number."""
    pattern = np.array(trace.calls[0].pattern)
    pattern[0, 1, 3] = np.nan
    return replace(trace, calls=(replace(trace.calls[0], pattern=pattern), *trace.calls[1:]))


def test_the_page_of_two_texts_is_the_golden_one(golden: Golden) -> None:
    golden("heads", text_of(page_of_heads(trace_of(7, lengths=(9, 6), causal=False), HeadStatistic.SINK)))


def test_every_map_has_the_mean_of_its_head_and_nothing_where_there_is_none() -> None:
    trace = trace_of(1, lengths=(6, 5))
    matrix = only(page_of_heads(trace, HeadStatistic.INDUCTION), Matrix)
    for line, layer in enumerate(read_heads(trace).layers):
        np.testing.assert_allclose(matrix.values[line], layer.measured[HeadStatistic.INDUCTION].mean, atol=1e-6)


def test_the_table_is_in_order_and_says_chance_and_queries() -> None:
    trace = trace_of(3, lengths=(8,))
    page = page_of_heads(trace, HeadStatistic.DISTANCE)
    table = next(panel for panel in page.panels if isinstance(panel, Table) and panel.title.startswith("highest"))
    layers = read_heads(trace).layers
    values = []
    for name, mean, chance, queries, *_ in table.rows:
        layer, head = map(int, name.split("."))
        measured = layers[layer].measured[HeadStatistic.DISTANCE]
        values.append(float(measured.mean[head]))
        assert mean == worth(values[-1])
        assert chance == worth(float(measured.chance[head]))
        assert queries == str(measured.queries[head])
    assert len(values) == 6
    assert values == sorted(values, reverse=True)


def test_layers_and_heads_that_are_chosen_are_the_only_ones() -> None:
    matrix = only(page_of_heads(trace_of(1), choice=Choice(layers="1", heads="0,2")), Matrix)
    assert matrix.row_names == ("layer 1",)
    assert matrix.column_names == ("head 0", "head 2")


def test_rows_that_are_not_numbers_are_said_to_be_left_out() -> None:
    page = page_of_heads(broken(trace_of(1, lengths=(7,))))
    warnings = [panel.text for panel in page.panels if isinstance(panel, Note) and panel.tone is Tone.WARNING]
    assert warnings == ["1 row of attention that is not numbers (NaN) is left out"]
    assert math.isfinite(only(page, Matrix).values.min())


@pytest.mark.parametrize("make", [rolled_out, head_means])
def test_attention_that_is_not_a_number_is_drawn_all_the_same(make: Callable[[Trace], Trace]) -> None:
    trace = make(broken(trace_of(1, lengths=(7,))))
    assert text_of(maps_page(trace, Choice(), (), rolled=False))


def test_a_row_with_nothing_left_is_blocked_and_not_zeros() -> None:
    trace = trace_of(1, lengths=(7,))
    left, said = without_sinks(trace)
    assert "nothing left and are blocked whole" in said
    sees = left.calls[0].mask.visible[0].any(axis=-1)
    assert not sees[:, 0].any()
    assert text_of(page_of_heads(left))


def test_a_statistic_without_a_query_is_refused() -> None:
    with pytest.raises(UsageError, match="by='next'"):
        page_of_heads(trace_of(1), HeadStatistic.NEXT)


def test_without_a_pattern_there_is_nothing_to_read() -> None:
    trace = trace_of(1)
    bare = replace(trace, calls=tuple(replace(call, pattern=None) for call in trace.calls))
    with pytest.raises(UsageError, match="no attention"):
        page_of_heads(bare)


def test_maps_are_those_of_every_layer_and_the_last_one_large() -> None:
    trace = rolled_out(trace_of(2, lengths=(6,)))
    page = maps_page(trace, Choice(), ("what was done",), rolled=True)
    assert only(page, HeadGrid).column_names == ("layer 0", "layer 1")
    large = only(page, Heatmap)
    assert large.title == "attention rollout up to layer 1"
    assert trace.calls[1].pattern is not None
    np.testing.assert_array_equal(large.values, trace.calls[1].pattern[0, 0])
    assert "what was done" in [panel.text for panel in page.panels if isinstance(panel, Note)]
    one = maps_page(trace, Choice(layers="0"), (), rolled=True)
    assert only(one, Heatmap).title == "attention rollout up to layer 0"
    assert not any(isinstance(panel, HeadGrid) for panel in one.panels)


def test_layers_a_rollout_passes_over_are_said() -> None:
    silent = SilentLayer(Stack.DECODER, 1, "layers.1", "state space")
    assert any("passes over" in note for note in rolled_out(replace(trace_of(0), silent=(silent,))).notes)
