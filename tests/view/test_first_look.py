"""The first look: what anybody wants to see of any model, on one screen."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maskviz.analyse.comparison import compare
from maskviz.analyse.standing_out import standing_out
from maskviz.api.shown import shown_page
from maskviz.core.panels.page import HeadGrid, MapRow, MaskGrid, Matrix, Note, Page, Table
from maskviz.core.run.heads import parse_head_mask
from maskviz.core.run.trace import AttentionCall, Batch, ModelCard, Trace
from maskviz.core.words import HeadRole, Only, Role, Stack
from maskviz.load.texts.encode import Request
from maskviz.render.terminal.page import plain_text
from maskviz.tracing.run import head_shapes, run_gated
from maskviz.view.choosing import Choice
from maskviz.view.show import WhatIf
from tests.architectures import ARCHITECTURES, MORE
from tests.head_traces import attention, mask_of, trace_of
from tests.traced import traced
from tests.tracing.conftest import example_of, loaded_tiny, random_rows


def height(page: Page, width: int = 80) -> int:
    return len(plain_text(page, width).splitlines())


def deep(*, layers: int = 40, heads: int = 32, tokens: int = 15, rows: int = 1) -> Trace:
    """A causal run as deep as large models are; head 17.5 looks at the token before, head 30.1 at itself."""
    dice = np.random.default_rng(0)
    ids = np.arange(rows * tokens).reshape(rows, tokens)
    text = tuple(tuple(f"token{one}" for one in row) for row in ids.tolist())
    batch = Batch(ids, ids >= 0, text, ((Role.TEXT,) * tokens,) * rows, ("a text",) * rows)
    visible = np.broadcast_to(np.tril(np.ones((tokens, tokens), np.bool_)), (rows, 1, tokens, tokens))
    calls = []
    for layer in range(layers):
        weights = attention(dice, visible, heads).copy()
        for at, head, offset in ((17, 5, -1), (30, 1, 0)):
            if layer == at:
                weights[:, head] = np.eye(tokens, k=offset)
                weights[:, head, 0, 0] = 1
        calls.append(AttentionCall(Stack.DECODER, layer, f"layers.{layer}", heads, heads, mask_of(visible), weights))
    return Trace(ModelCard("made-up", "MadeUp", "made-up", False, (layers,), (heads,), (heads,)), batch, tuple(calls))


def changed(model_type: str, mask: str) -> tuple[Trace, WhatIf]:
    example = example_of(model_type)
    after = run_gated(
        example.model, example.encoded.inputs, example.trace, parse_head_mask(mask, head_shapes(example.trace))
    )
    return after, WhatIf(example.trace, compare(example.trace, after), lambda index: f"token {index}")


@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES | MORE))
def test_a_first_look_at_any_model_fits_60_lines_and_a_brief_one_24(model_type: str) -> None:
    trace = example_of(model_type).trace
    assert height(shown_page(trace, Choice())) <= 60
    assert height(shown_page(trace, Choice(brief=True))) <= 24


@pytest.mark.parametrize(("tokens", "rows"), [(3, 1), (15, 1), (15, 8), (60, 1), (200, 2)])
def test_a_first_look_at_a_deep_model_fits_60_lines_and_a_brief_one_24(tokens: int, rows: int) -> None:
    trace = deep(tokens=tokens, rows=rows)
    assert height(shown_page(trace, Choice())) <= 60
    assert height(shown_page(trace, Choice(brief=True))) <= 24


@pytest.mark.parametrize("model_type", ["llama", "gemma3", "bert", "t5"])
def test_a_first_look_at_a_what_if_fits_60_lines(model_type: str) -> None:
    after, what_if = changed(model_type, "0:1")
    assert height(shown_page(after, Choice(), what_if)) <= 60


def test_a_first_look_shows_the_heads_that_stand_out_with_their_scores() -> None:
    (row,) = [panel for panel in shown_page(deep(), Choice()).panels if isinstance(panel, MapRow)]
    assert [(one.title, one.caption) for one in row.maps][:2] == [
        ("head 17.5", "previous token 1.00, positional 1.00"),
        ("head 30.1", "same token 1.00"),
    ]
    assert 3 <= len(row.maps) <= 6


def test_a_head_that_stands_out_has_the_highest_score_of_its_role() -> None:
    trace = deep(layers=20)
    found = standing_out(trace, 0)
    previous = {
        (call.layer, head): float(np.mean([call.pattern[0, head, query, query - 1] for query in range(1, 15)]))
        for call in trace.calls
        if call.pattern is not None
        for head in range(call.heads)
    }
    (first,) = [one for one in found if any(role.role is HeadRole.PREVIOUS for role in one.roles)]
    assert (first.layer, first.head) == max(previous, key=lambda place: previous[place])
    score = next(role.score for role in first.roles if role.role is HeadRole.PREVIOUS)
    assert score == pytest.approx(previous[first.layer, first.head], abs=1e-6)


def test_where_no_head_has_a_role_the_sharpest_and_the_widest_stand_out() -> None:
    trace = trace_of(3, lengths=(4,))
    assert all(not one.roles for one in standing_out(trace, 0))
    peaks = {
        (call.layer, head): float(call.pattern[0, head].max(axis=-1).mean())
        for call in trace.calls
        if call.pattern is not None
        for head in range(3)
    }
    found = {one.extreme: one for one in standing_out(trace, 0)}
    for extreme, place in (
        ("sharpest", max(peaks, key=peaks.__getitem__)),
        ("widest", min(peaks, key=peaks.__getitem__)),
    ):
        assert (found[extreme].layer, found[extreme].head) == place
        assert found[extreme].peak == pytest.approx(peaks[place])


def test_attention_that_is_no_number_is_shown_and_said() -> None:
    trace = trace_of(3)
    broken = tuple(replace(call, pattern=np.full_like(call.pattern, np.nan)) for call in trace.calls)
    (row,) = [panel for panel in shown_page(replace(trace, calls=broken), Choice()).panels if isinstance(panel, MapRow)]
    assert row.maps[0].caption == "not a number"


def test_a_mask_in_which_all_is_visible_is_a_line() -> None:
    loaded = loaded_tiny("bert")
    trace = traced(loaded, Request(ids=random_rows((5,)))).trace
    page = shown_page(trace, Choice())
    assert not [panel for panel in page.panels if isinstance(panel, MaskGrid)]
    assert Note("all layers: bidirectional, all 5 x 5 cells visible") in page.panels


def test_all_draws_each_head_and_each_mask() -> None:
    trace = example_of("gemma3").trace
    panels = shown_page(trace, Choice(everything=True)).panels
    (grid,) = [panel for panel in panels if isinstance(panel, HeadGrid)]
    assert len(grid.tiles) == sum(call.heads for call in trace.calls)
    assert len([panel for panel in panels if isinstance(panel, MaskGrid)]) == 6  # two rules, three texts


def test_only_leaves_out_what_was_not_asked_for() -> None:
    trace = traced(loaded_tiny("bert"), Request(ids=random_rows((5,)))).trace
    masks = {type(panel) for panel in shown_page(trace, Choice(only=Only.MASK)).panels}
    assert masks == {MaskGrid, Note}  # one in which all is visible too: it was asked for
    attention = {type(panel) for panel in shown_page(trace, Choice(only=Only.ATTENTION)).panels}
    assert attention == {MapRow, Note}


def test_layers_that_did_not_move_are_a_word_and_no_rows_of_zeros() -> None:
    after, what_if = changed("llama", "1:1")
    (matrix,) = [panel for panel in shown_page(after, Choice(), what_if).panels if isinstance(panel, Matrix)]
    assert matrix.row_names == ("layer 2",)
    assert matrix.caption.endswith("layers 0-1: nothing moved")


def test_of_many_texts_the_one_whose_answers_changed_most_is_shown() -> None:
    after, what_if = changed("llama", "0:1")
    tables = [panel for panel in shown_page(after, Choice(), what_if).panels if isinstance(panel, Table)]
    places = what_if.change.places
    most = max(range(len(places)), key=lambda place: places[place].divergence or 0)
    assert tables[0].title.startswith(f"text {places[most].row + 1}, ")
    assert "changed most of 3" in tables[0].caption
