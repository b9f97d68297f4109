"""The page of a long run says what it shows: shares, who stands out, one head from near, and how it was computed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from maskviz.analyse.long import read_long
from maskviz.core.errors import UsageError
from maskviz.core.panels.charts import Curve
from maskviz.core.panels.page import HeadGrid, Heatmap, Matrix, Page, Pooled, Table, TokenStrip
from maskviz.core.run.long import LongTrace, Region
from maskviz.core.run.trace import Batch
from maskviz.core.words import Role, Scale, Stack, Statistic, Way
from maskviz.core.writing import in_a_shell
from maskviz.view.choosing import Choice, drawn_row
from maskviz.view.long.page import long_page
from tests.long_traces import HEADS, LAYERS, QUERIES, REGION, TILE, dense, keep, long_call, long_trace, visible
from tests.pages_of_heads import notes, only, text_of


@pytest.fixture(autouse=True)
def at_a_shell() -> Iterator[None]:
    with in_a_shell():
        yield


def page_of_long(choice: Choice, trace: LongTrace | None = None) -> Page:
    trace = long_trace() if trace is None else trace
    return long_page(trace, read_long(trace, drawn_row(trace.batch, choice)), choice)


def kinds(page: Page) -> list[str]:
    return [type(panel).__name__ for panel in page.panels]


def test_many_heads_are_a_grid_of_shares_a_region_a_number_each_and_a_ranking(
    golden: Callable[[str, str], None],
) -> None:
    page = page_of_long(Choice(everything=True))
    assert kinds(page) == [
        *["Note", "Note", "TokenStrip", "MaskGrid", "MaskGrid", "HeadGrid", "HeadGrid"],
        *["Matrix"] * 5,
        *["Table", "Note", "Note"],
    ]
    golden("long_heads", text_of(page, 100))


def test_one_head_is_drawn_large_with_its_curves_and_the_keys_of_its_rows(golden: Callable[[str, str], None]) -> None:
    page = page_of_long(Choice(layers="1", heads="2"))
    assert kinds(page) == [
        *["Note", "Note", "TokenStrip", "MaskGrid", "MaskGrid", "Heatmap", "Heatmap", "Heatmap"],
        *["Curve"] * 3,
        *["Table", "Table", "Note"],
    ]
    golden("long_head", text_of(page, 100))


def test_a_pooled_map_says_its_tile_its_meaning_and_the_largest_single_weight() -> None:
    largest = max(float(dense(layer)[0].max()) for layer in range(LAYERS))
    grid = next(panel for panel in page_of_long(Choice(everything=True)).panels if isinstance(panel, HeadGrid))
    assert grid.pooled == Pooled(TILE, "the share of its queries' attention that falls on its keys", largest)
    assert grid.tiles[0].values.shape == (5, 5)
    assert [(tile.row, tile.column) for tile in grid.tiles] == [(r, c) for r in range(LAYERS) for c in range(HEADS)]


def test_axes_of_a_pooled_map_are_runs_numbered_by_their_first_token() -> None:
    shares = only(page_of_long(Choice(layers="0", heads="1")), Heatmap, "shares")
    assert [(token.text, token.place, token.count) for token in shares.keys] == [
        ("0", 0, 8), ("8", 8, 8), ("16", 16, 8), ("24", 24, 8), ("32", 32, 8),
    ]  # fmt: skip


def test_a_last_run_is_as_short_as_what_is_left() -> None:
    from maskviz.view.long.maps import runs_of

    assert [token.count for token in runs_of(20, 8)] == [8, 8, 4]


def test_the_scale_is_logarithmic_unless_another_is_asked_for() -> None:
    assert only(page_of_long(Choice(layers="0", heads="1")), Heatmap, "shares").scale is Scale.LOG
    assert (
        only(page_of_long(Choice(layers="0", heads="1", scale=Scale.LINEAR)), Heatmap, "shares").scale is Scale.LINEAR
    )


@pytest.mark.parametrize("choice", [Choice(layers="1", heads="0", text=2), Choice(layers="1", heads="0")])
def test_a_region_is_drawn_cell_by_cell_with_true_numbers_and_what_is_blocked(choice: Choice) -> None:
    row = 1 if choice.text == 2 else 0
    panel = only(page_of_long(choice), Heatmap, "queries 10-21, keys 2-19")
    np.testing.assert_array_equal(panel.values, dense(1)[row, 0][10:22, 2:20])
    np.testing.assert_array_equal(panel.blocked, ~visible(row, 1)[10:22, 2:20])
    assert [token.place for token in panel.queries] == list(range(10, 22))
    assert panel.keys[0].text == "w2"


def test_a_part_of_the_region_can_be_asked_for_and_nothing_beyond_it() -> None:
    part = Region(12, 14, 3, 9)
    panel = only(page_of_long(Choice(layers="1", heads="0", region=part)), Heatmap, "queries 12-13, keys 3-8")
    np.testing.assert_array_equal(panel.values, dense(1)[0, 0][12:14, 3:9])
    grid = only(page_of_long(Choice(region=part)), HeadGrid, "queries 12-13")
    np.testing.assert_array_equal(grid.tiles[HEADS + 2].values, dense(1)[0, 2][12:14, 3:9])
    with pytest.raises(UsageError, match=f"9:14,3:9 is not within {REGION}"):
        page_of_long(Choice(region=Region(9, 14, 3, 9)))
    with pytest.raises(UsageError, match="was not kept"):
        page_of_long(Choice(region=part), long_trace(region=None))


def test_matrices_hold_means_and_heads_that_stand_out_are_ranked_by_them() -> None:
    page = page_of_long(Choice(text=2, everything=True))
    first = only(page, Matrix, "first token")
    real = keep()[1]
    for layer, head in np.ndindex(LAYERS, HEADS):
        expected = np.mean([dense(layer)[1, head, query, 0] for query in range(QUERIES) if real[query]])
        assert first.values[layer, head] == pytest.approx(expected, rel=1e-5)
    rows = {row[0]: row[1] for row in only(page, Table, "heads that stand out").rows}
    assert rows["first token"].startswith(f"0.0 {first.values[0, 0]:.2f}   1.0 {first.values[1, 0]:.2f}")
    assert rows["lowest entropy, nats"].split()[0] in ("0.1", "1.1")
    chosen = only(page_of_long(Choice(layers="1")), Table, "heads that stand out").rows
    assert next(heads for name, heads in chosen if name == "first token").startswith("1.0 ")


def test_padding_queries_have_no_row_and_padding_runs_are_meaningless() -> None:
    trace = long_trace()
    trace = replace(trace, rows=(3, 37))
    page = page_of_long(Choice(layers="0", heads="1", text=2), trace)
    titles = [panel.title for panel in page.panels if isinstance(panel, Table) and panel.title]
    assert titles == ["head 0.1, query 3 “w3”"]


def test_a_row_lists_its_heaviest_keys_with_token_offset_and_weight() -> None:
    table = only(page_of_long(Choice(layers="0", heads="2")), Table, "query 17 “w7”")
    line = dense(0)[0, 2, 17]
    keys = sorted(range(QUERIES), key=lambda key: -line[key])[:10]
    assert [row[0] for row in table.rows] == [str(key) for key in keys]
    assert table.rows[0][1:3] == (f"w{keys[0] % 10}", f"{keys[0] - 17:+}" if keys[0] != 17 else "0")
    assert float(table.rows[0][3]) == pytest.approx(line[keys[0]], abs=1e-4)
    assert table.caption == f"10 keys of most attention, together {line[keys].sum():.1%}"


def test_a_curve_has_few_points_with_the_mean_and_a_band_of_the_extremes() -> None:
    count = 1_000
    values = np.random.default_rng(0).uniform(size=(1, 1, count)).astype(np.float32)
    values[0, 0, 7] = np.nan
    call = long_call(0)
    pooled = np.ones((1, 1, 4, 4), np.float32)
    wide = replace(
        call,
        heads=1,
        key_heads=1,
        queries=count,
        keys=count,
        sums=pooled,
        largest=pooled,
        statistics={Statistic.FIRST: values},
        rows=np.zeros((1, 1, 0, count), np.float32),
        region=None,
    )
    ids = np.zeros((1, count), np.int64)
    batch = Batch(ids, ids == 0, (("w",) * count,), ((Role.TEXT,) * count,))
    trace = replace(long_trace(), batch=batch, calls=(wide,), tile=250, rows=(), region=None)
    curve = only(page_of_long(Choice(), trace), Curve, "look at")
    (line,) = curve.lines
    assert len(curve.x) == 200
    for point, start in enumerate(range(0, count, 5)):
        run = [value for value in values[0, 0, start : start + 5].tolist() if value == value]
        assert curve.x[point] == start + 2
        assert line.values[point] == pytest.approx(np.mean(run))
        assert line.low is not None
        assert line.high is not None
        assert (line.low[point], line.high[point]) == (min(run), max(run))
    strip = only(page_of_long(Choice(), trace), TokenStrip)
    assert strip.title == "1,000 tokens"
    assert len(strip.rows[0]) == 19
    assert list(strip.numbered(0))[12] == ("12-993", strip.rows[0][12])
    assert list(strip.numbered(0))[-1][0] == "999"


def test_heads_of_cross_attention_are_named_so_and_their_keys_have_no_offset() -> None:
    trace = long_trace(region=None)
    text = trace.batch
    crossed = replace(
        trace,
        batch=replace(text, decoder=replace(text)),
        calls=(trace.calls[0], replace(trace.calls[1], stack=Stack.CROSS)),
    )
    page = page_of_long(Choice(stack="cross", heads="2"), crossed)
    assert only(page, Heatmap, "shares").title == "cross head 1.2: shares"
    assert only(page, Table, "query 17").columns == ("key>", "token", "attention>")
    titles = [
        panel.title for panel in page_of_long(Choice(everything=True), crossed).panels if isinstance(panel, Matrix)
    ]
    assert titles[0].startswith("decoder: first token")
    assert titles[-1].startswith("cross: distance")


def test_rows_that_sum_to_less_than_one_are_said_to() -> None:
    trace = long_trace(region=None)
    sunk = replace(trace, calls=tuple(replace(call, sums=call.sums * np.float32(0.5)) for call in trace.calls))
    shares = only(page_of_long(Choice(layers="0", heads="1"), sunk), Heatmap, "shares")
    assert "rows sum to 0.50-0.50, the rest goes to a sink" in shares.caption


@pytest.mark.parametrize(
    ("ways", "difference", "said"),
    [
        ((Way.BLOCKS, Way.BLOCKS), 1.5e-7, "on 16 sampled rows of each call it equals the model's own eager attention"),
        (
            (Way.BLOCKS, Way.LAYER),
            1.5e-7,
            "as far as the mask reaches and the model's own attention, a layer",
        ),
        ((Way.ROWS, Way.ROWS), None, "on blocks of rows: the weights are the model's own."),
    ],
)
def test_the_evidence_says_how_it_was_computed(ways: tuple[Way, Way], difference: float | None, said: str) -> None:
    trace = long_trace()
    calls = [replace(call, way=way, difference=difference) for call, way in zip(trace.calls, ways, strict=True)]
    assert said in notes(page_of_long(Choice(), replace(trace, calls=tuple(calls)))).splitlines()[-1]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice(layers="2"), "layer 2 does not exist"),
        (Choice(heads="3"), "head 3 does not exist"),
        (Choice(stack="encoder"), "no encoder attention"),
        (Choice(text=3), "text 3 does not exist"),
    ],
)
def test_what_is_not_there_is_said(choice: Choice, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        page_of_long(choice)
