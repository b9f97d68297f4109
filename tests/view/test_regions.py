"""A region of a dense run is the same cells as in the whole picture, with the tokens' own numbers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maskviz.core.errors import UsageError
from maskviz.core.panels.page import HeadGrid, Heatmap, MaskGrid, Page
from maskviz.core.run.long import Region
from maskviz.core.run.trace import Mask, Trace
from maskviz.view.choosing import Choice
from maskviz.view.show import show_page
from tests.pages_of_heads import only
from tests.tracing.conftest import example_of

REGION = Region(3, 8, 1, 7)


def masks(page: Page) -> list[MaskGrid]:
    return [panel for panel in page.panels if isinstance(panel, MaskGrid)]


def test_masks_of_a_region_are_cut_with_their_shares_counted_anew() -> None:
    trace = example_of("gemma3").trace
    whole = masks(show_page(trace, Choice(everything=True)))
    parts = masks(show_page(trace, Choice(region=REGION)))
    assert [part.title.split(":")[0] for part in parts] == [
        f"{panel.title.split(':')[0]}, queries 3-7, keys 1-6" for panel in whole
    ]
    for part, panel in zip(parts, whole, strict=True):
        np.testing.assert_array_equal(part.codes, panel.codes[3:8, 1:7])
        np.testing.assert_array_equal(part.meaningless, panel.meaningless[3:8])
        assert part.queries == panel.queries[3:8]
        assert [token.place for token in part.keys] == [1, 2, 3, 4, 5, 6]
        real = ~part.meaningless
        blocked = float((part.codes[real] != 0).mean())
        assert part.caption.startswith(f"{1 - blocked:.1%} of {real.sum()} x 6 cells visible")
        assert max((entry.share for entry in part.legend), default=0.0) <= blocked + 1e-9


def test_maps_of_a_region_are_cut_on_a_scale_of_their_own() -> None:
    trace = example_of("llama").trace
    pattern = trace.calls[2].pattern
    assert pattern is not None
    page = show_page(trace, Choice(layers="2", heads="3", text=2, region=REGION))
    panel = only(page, Heatmap)
    np.testing.assert_array_equal(panel.values, pattern[1, 3, 3:8, 1:7])
    assert panel.top == pytest.approx(float(pattern[1, 3, 3:8, 1:7][trace.batch.keep[1, 3:8]].max()))
    assert panel.title == "head 2.3, text 2 of 3, queries 3-7, keys 1-6"
    grid = only(show_page(trace, Choice(text=2, region=REGION)), HeadGrid)
    for tile in grid.tiles:
        weights = trace.calls[tile.row].pattern
        assert weights is not None
        np.testing.assert_array_equal(tile.values, weights[1, tile.column, 3:8, 1:7])


def behind_a_cache(trace: Trace, past: int) -> Trace:
    """The last queries of a run, as those that follow a cache of `past` tokens."""
    calls = []
    for call in trace.calls:
        old = call.mask
        assert call.pattern is not None
        mask = Mask(old.visible[:, :, past:], old.reasons[:, :, past:], old.rule, query_offset=past)
        calls.append(replace(call, mask=mask, pattern=call.pattern[:, :, past:]))
    return replace(trace, calls=tuple(calls))


def test_queries_behind_a_cache_keep_their_numbers_and_others_are_said_to_be_missing() -> None:
    trace = example_of("llama").trace
    later = behind_a_cache(trace, 4)
    pattern = trace.calls[0].pattern
    assert pattern is not None
    choice = Choice(layers="0", heads="1", text=2, region=Region(5, 7, 0, 6))
    panel = only(show_page(later, choice), Heatmap)
    np.testing.assert_array_equal(panel.values, pattern[1, 1, 5:7, 0:6])
    assert [token.place for token in panel.queries] == [5, 6]
    with pytest.raises(UsageError, match="0:3,0:2 is outside the attention of decoder layer 0"):
        show_page(later, replace(choice, region=Region(0, 3, 0, 2)))


def test_a_region_reaching_before_the_queries_there_are_is_said_as_what_is_drawn() -> None:
    later = behind_a_cache(example_of("llama").trace, 4)
    panel = only(show_page(later, Choice(layers="0", heads="1", region=Region(2, 6, 0, 2))), Heatmap)
    assert panel.values.shape == (2, 2)
    assert panel.title.endswith("queries 4-5, keys 0-1")
