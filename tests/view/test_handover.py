"""What a backend is handed, as panels."""

from __future__ import annotations

import pytest
import transformers

from maskviz.core.panels.page import MaskGrid, Note, Panel, Table, Tone
from maskviz.core.run.handover import HandOver, handed_groups
from maskviz.core.words import Backend
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.backends.handing import hand_over
from maskviz.tracing.run import run
from maskviz.view.choosing import Choice
from maskviz.view.masks.handover import hand_over_panels
from tests.image_text import tiny_image_text
from tests.tracing.conftest import example_of, random_rows


@pytest.fixture(autouse=True)
def flash_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """transformers refuses it for this class since 5.24."""
    monkeypatch.setattr(transformers.Gemma3ForConditionalGeneration, "_supports_flash_attn", True)


TYPES = ((0, 0, 0, 0, 0, 0, 0, 0), (0, 0, 1, 1, 1, 0, 1, 1))


def of_spans(choice: Choice) -> list[Panel]:
    """Flash attention asked about two texts, the second with two images."""
    model = tiny_image_text("gemma3")
    loaded = Loaded(model, None, card_of(model.config, "gemma3", type(model).__name__))
    encoded = encode(loaded, Request(ids=random_rows((8, 8)), token_types=TYPES))
    trace = run(model, encoded.inputs, encoded.batch, loaded.card)
    over = hand_over(model, encoded.inputs, trace, Backend.FLASH)
    return hand_over_panels(trace, over, handed_groups(trace, over), choice)


def test_a_departure_is_counted_and_drawn_once_for_each_group_on_the_first_text_that_has_it() -> None:
    table, first, second, *pictures = of_spans(Choice())
    assert isinstance(table, Table)
    assert table.title == "handed to flash_attention_2"
    assert table.columns == ("layers", "handed over", "pattern")
    assert table.rows == (
        ("layer 0", "no mask, causal=True", "4 of 128 cells differ"),
        ("layers 1-2", "no mask, causal=True, window_size=(3, 3)", "4 of 128 cells differ"),
    )
    assert first == Note(
        "flash_attention_2 departs from the mask of layer 0 (same span): 4 of 128 cells are blocked that it lets "
        "through, first text 2 query 2 key 3",
        Tone.WARNING,
    )
    assert isinstance(second, Note)
    grids = [panel for panel in pictures if isinstance(panel, MaskGrid)]
    assert [grid.title for grid in grids] == [
        "flash_attention_2 instead lets through, layer 0, text 2: causal",
        "flash_attention_2 instead lets through, layers 1-2, text 2: causal ∧ window(4)",
    ]
    assert (grids[0].codes != 0).sum() == 28


def test_the_choice_of_layers_and_text_is_kept() -> None:
    table, note, *pictures = of_spans(Choice(layers="1", text=1))
    assert isinstance(table, Table)
    assert [row[0] for row in table.rows] == ["layer 1"]
    assert isinstance(note, Note)
    assert [panel.title for panel in pictures if isinstance(panel, MaskGrid)] == [
        "flash_attention_2 instead lets through, layer 1, text 1: causal ∧ window(4)"
    ]


def test_a_refusal_is_all_there_is() -> None:
    trace = example_of("llama").trace
    over = HandOver(Backend.FLASH, (), "LlamaForCausalLM does not support it\x1b[31m")
    assert hand_over_panels(trace, over, (), Choice()) == [
        Note("flash_attention_2: LlamaForCausalLM does not support it\\x1b[31m", Tone.WARNING)
    ]
