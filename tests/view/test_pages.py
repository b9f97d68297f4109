"""Traces become panels that say what they show."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest

from maskviz.analyse.comparison import compare
from maskviz.api.shown import shown_page
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import HeadGrid, Heatmap, MapRow, MaskGrid, Matrix, Note, Page, Table, TokenStrip, Tone
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.heads import parse_head_mask
from maskviz.core.run.trace import CONTENT, SilentLayer
from maskviz.core.words import Only, Stack
from maskviz.core.writing import ranges
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.run import head_shapes, run, run_gated
from maskviz.view.card import info_page, info_page_unrun
from maskviz.view.choosing import Choice, card_line, short_count
from maskviz.view.heads.changes import describe
from maskviz.view.masks.layers import disagreements, layer_tables
from maskviz.view.pictures import mask_panels
from maskviz.view.show import WhatIf, show_page
from tests.tracing.conftest import example_of, loaded_tiny, random_rows

Shown = TypeVar("Shown")


def page_of_run(model_type: str, choice: Choice) -> Page:
    return show_page(example_of(model_type).trace, choice)


def panels(page: Page, kind: type[Shown]) -> list[Shown]:
    return [panel for panel in page.panels if isinstance(panel, kind)]


def what_if_page(model_type: str, mask: str, choice: Choice) -> Page:
    example = example_of(model_type)
    head_mask = parse_head_mask(mask, head_shapes(example.trace))
    after = run_gated(example.model, example.encoded.inputs, example.trace, head_mask)
    what_if = WhatIf(example.trace, compare(example.trace, after), lambda index: f"token {index}")
    return show_page(after, choice, what_if)


def test_each_distinct_mask_is_drawn_once_per_text_with_the_layers_that_share_it() -> None:
    titles = [panel.title for panel in panels(page_of_run("gemma3", Choice(everything=True)), MaskGrid)]
    assert titles == [
        *[f"layer 0, text {text}: causal ∧ padding" for text in (1, 2, 3)],
        *[f"layers 1-2, text {text}: causal ∧ window(4) ∧ padding" for text in (1, 2, 3)],
    ]


def test_texts_that_show_the_same_share_a_picture() -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, Request(ids=random_rows((5, 5))))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    assert [panel.title for panel in mask_panels(trace, (0, 1), trace.calls)] == ["all layers, texts 1-2: causal"]


@pytest.mark.parametrize(
    ("count", "no_cache", "said"),
    [
        (2, True, "Packed texts are separated"),
        (2, False, "of text 2's attention falls on text 1"),
        (3, False, "of text 3's attention falls on other texts"),
        (5, False, "packed texts are not separated: up to 0."),
    ],
)
def test_packed_texts_are_separated_or_not_in_words(count: int, no_cache: bool, said: str) -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, Request(ids=random_rows((3,) * count), packed=True, no_cache=no_cache))
    page = show_page(run(loaded.model, encoded.inputs, encoded.batch, loaded.card), Choice())
    note = panels(page, Note)[0]
    assert said in note.text
    assert (note.tone is Tone.WARNING) is not no_cache
    (strip,) = panels(page, TokenStrip)
    assert strip.names == tuple(f"text {text + 1}" for text in range(count))
    assert [number for row in range(count) for number, _ in strip.numbered(row)] == [str(n) for n in range(3 * count)]


def test_a_row_of_many_packed_texts_is_cut_and_says_so() -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, Request(ids=random_rows((2,) * 30), packed=True, no_cache=True))
    page = show_page(run(loaded.model, encoded.inputs, encoded.batch, loaded.card), Choice())
    (strip,) = panels(page, TokenStrip)
    assert len(strip.rows) == 12
    assert strip.title.endswith("the first 12 of 30 texts")


def test_a_large_batch_is_cut_and_says_so() -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, Request(ids=random_rows(tuple(range(3, 14)))))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    page = show_page(trace, Choice())
    assert len(panels(page, TokenStrip)[0].rows) == 4
    assert any("Texts 5-11 are not drawn" in note.text for note in panels(page, Note))
    assert len(panels(show_page(trace, Choice(everything=True)), TokenStrip)[0].rows) == 8
    (strip,) = panels(show_page(trace, Choice(text=11)), TokenStrip)
    assert strip.names == ("text 11",)


def test_a_mask_panel_shows_reasons_labels_and_padding_rows() -> None:
    trace = example_of("llama").trace
    panel = panels(page_of_run("llama", Choice(text=1)), MaskGrid)[0]
    assert [token.text for token in panel.keys] == list(trace.batch.tokens[0])
    assert panel.meaningless.tolist() == [True] * 4 + [False] * 5
    assert panel.codes[8, 0] == Reason.PADDING
    assert panel.codes[4, 8] == Reason.FUTURE
    assert panel.codes[8, 8] == 0
    assert {(entry.word, round(entry.share, 4)) for entry in panel.legend} == {
        ("padding", round(4 / 9, 4)),
        ("future", round((4 + 3 + 2 + 1) / 45, 4)),
    }


def test_choosing_a_layer_and_head_draws_one_large_map() -> None:
    trace = example_of("llama").trace
    page = page_of_run("llama", Choice(layers="2", heads="3", text=2))
    (panel,) = panels(page, Heatmap)
    assert panel.title == "head 2.3, text 2 of 3"
    assert trace.calls[2].pattern is not None
    assert np.array_equal(panel.values, trace.calls[2].pattern[1, 3])
    assert np.array_equal(panel.blocked, ~trace.calls[2].mask.visible[1, 0])
    assert not panels(page, HeadGrid)


def test_other_choices_draw_a_grid_of_heads_on_one_scale() -> None:
    (grid,) = panels(page_of_run("llama", Choice(layers="0,-1", heads="1-2")), HeadGrid)
    assert grid.row_names == ("layer 0", "layer 2")
    assert grid.column_names == ("head 1", "head 2")
    assert len(grid.tiles) == 4
    assert grid.top == max(float(tile.values[~tile.meaningless].max()) for tile in grid.tiles)


def test_encoder_decoders_draw_every_stack() -> None:
    page = page_of_run("t5", Choice(text=1, everything=True))
    assert [grid.title.split()[0] for grid in panels(page, HeadGrid)] == ["encoder", "decoder", "cross"]
    first = shown_page(example_of("t5").trace, Choice(text=1))
    assert [row.title.split()[0] for row in panels(first, MapRow)] == ["encoder", "decoder", "cross"]
    cross = panels(page_of_run("t5", Choice(stack="cross", text=2, only=Only.MASK)), MaskGrid)[0]
    assert cross.codes.shape == (6, 9)
    strips = panels(page, TokenStrip)
    assert [strip.title for strip in strips] == ["encoder tokens", "decoder tokens"]


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice(layers="7"), "layer 7 does not exist"),
        (Choice(heads="9"), "head 9 does not exist"),
        (Choice(text=4), "text 4 does not exist"),
        (Choice(stack="cross"), "no cross attention"),
    ],
)
def test_choices_that_are_not_there_are_said(choice: Choice, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        page_of_run("llama", choice)


def test_sinks_are_named_where_rows_do_not_sum_to_one() -> None:
    (panel,) = panels(page_of_run("gpt_oss", Choice(layers="0", heads="0")), Heatmap)
    assert "goes to a sink outside the text" in panel.caption
    (panel,) = panels(page_of_run("llama", Choice(layers="0", heads="0")), Heatmap)
    assert "sums to 1" in panel.caption


def test_a_what_if_says_what_was_silenced_and_what_moved() -> None:
    page = what_if_page("llama", "0:1; 1:2=0.5", Choice(everything=True))
    notes = [note.text for note in panels(page, Note)]
    assert "What if: silenced 1 head: 0.1; scaled 1.2 to 0.5." in notes[0]
    tables = panels(page, Table)
    assert [table.title for table in tables] == [
        *[
            f"text {text}, next token after 8 '{word}'"
            for text, word in zip((1, 2, 3), last_tokens("llama"), strict=True)
        ],
        "loss of the text",
    ]
    assert tables[0].rows[0][0].startswith("token ")
    (matrix,) = panels(page, Matrix)
    assert matrix.values.shape == (2, 4)
    assert matrix.row_names == ("layer 1", "layer 2")
    (row,) = panels(page, MapRow)
    assert [one.title for one in row.maps] == ["before", "after"]
    moved = np.unravel_index(matrix.values.argmax(), matrix.values.shape)
    assert row.title.startswith(f"head {moved[0] + 1}.{moved[1]}")


def last_tokens(model_type: str) -> list[str]:
    return [row[-1] for row in example_of(model_type).trace.batch.tokens]


def test_gated_heads_are_marked_in_the_grid() -> None:
    page = what_if_page("llama", "1:2=0.5; 1:0", Choice(layers="1"))
    (grid,) = panels(page, HeadGrid)
    assert [tile.gate for tile in grid.tiles] == [0.0, None, 0.5, None]


def test_silencing_the_last_layer_moves_no_attention_and_says_so() -> None:
    page = what_if_page("llama", "2:*", Choice())
    assert any("No later attention moved" in note.text for note in panels(page, Note))
    assert not panels(page, MapRow)


def test_a_head_mask_is_described_in_words() -> None:
    shapes = {"encoder": (2, 3), "cross": (2, 3)}
    assert "silenced 2 heads: encoder 0.1, cross 1.0" in describe(parse_head_mask("0:1; cross 1:0", shapes))
    assert describe(parse_head_mask("0:1=1", shapes)) == "The head mask keeps every head."


def test_the_card_is_one_line() -> None:
    assert card_line(example_of("llama").trace.card) == ("llama · LlamaForCausalLM · 3 layers × 4 heads (2 key heads)")
    assert "3 + 2 layers × 4 heads" in card_line(example_of("t5").trace.card)


def test_info_groups_layers_of_a_kind() -> None:
    tables = panels(info_page_unrun(example_of("gemma3").trace.card, "it fails"), Table)
    assert tables[1].rows == (("0", "full", "4", "2"), ("1-2", "sliding window 4", "4", "2"))


def test_info_says_the_rule_of_each_run_of_layers_per_stack() -> None:
    gemma, t5 = example_of("gemma3").trace, example_of("t5").trace
    tables = panels(info_page(gemma.card, gemma, ({}, {}, "")), Table)
    assert tables[1].rows == (
        ("0", "full", "causal ∧ padding", "", "4", "2"),
        ("1-2", "sliding window", "causal ∧ window(4) ∧ padding", "4", "4", "2"),
    )
    titles = [table.title for table in panels(info_page(t5.card, t5, ({}, {}, "")), Table)]
    assert titles == ["", "encoder layers", "decoder layers", "cross layers"]


def test_layers_without_a_mask_are_listed_as_what_they_are() -> None:
    trace = example_of("gemma3").trace
    silent = (SilentLayer(Stack.DECODER, 3, "x", "state space", "Mixer"), SilentLayer(Stack.DECODER, 4, "y", CONTENT))
    rows = layer_tables(replace(trace, silent=silent))[0].rows
    assert rows[2:] == (("3", "state space", "", "", "", ""), ("4", CONTENT, "", "", "", ""))


def test_a_config_that_words_layers_otherwise_than_they_are_is_contradicted() -> None:
    trace = example_of("gemma3").trace
    assert disagreements(trace.card, trace, {}, {}) == ()
    wrong = replace(trace.card, attention=("sliding window 4", "sliding window 4", "full"))
    assert disagreements(wrong, trace, {}, {}) == (
        "The config calls layer 0 'sliding window 4'; what the model's own code makes there is causal ∧ padding.",
        "The config calls layer 2 'full'; what the model's own code makes there is causal ∧ window(4) ∧ padding.",
    )


def test_drift_is_said_and_notes_are_warnings() -> None:
    notes = panels(page_of_run("llama", Choice()), Note)
    assert "from a plain sdpa run" in notes[-1].text
    assert notes[-1].tone is Tone.QUIET


@pytest.mark.parametrize(
    ("count", "text"), [(7, "7"), (999, "999"), (1234, "1.2k"), (135e6, "135.0M"), (70.6e9, "70.6B")]
)
def test_counts_are_short(count: float, text: str) -> None:
    assert short_count(int(count)) == text


def test_ranges_are_listed_as_people_do() -> None:
    assert ranges([0, 1, 2, 5, 7, 8]) == "0-2, 5, 7-8"
    assert ranges([]) == ""
