"""What experiments say, beside the model called by hand."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.experiments.changes import (
    broken_padding,
    drifts_by_rounding,
    output_size,
    padded_texts,
    returns_weights,
)
from maskviz.tracing.experiments.prove import moved_by_last_token
from maskviz.tracing.run import run
from maskviz.tracing.seam.masks import uses_interface
from tests.traced import Traced, traced
from tests.tracing.conftest import loaded_tiny, random_rows


def padded(model_type: str, side: str) -> Traced:
    return traced(loaded_tiny(model_type), Request(ids=random_rows((5, 9)), padding_side=side))


@torch.no_grad()
def test_left_padding_of_gpt2_moves_a_text_as_far_as_it_is_from_itself_alone() -> None:
    loaded, encoded, trace = padded("gpt2", "left")
    ids = encoded.inputs["input_ids"][:1, 4:]
    alone = loaded.model(input_ids=ids).logits[0]
    together = loaded.model(**encoded.inputs).logits[0, 4:]
    (found,) = padded_texts(loaded.model, encoded.inputs, trace, predicts_next=True)
    assert found.row == 0 and found.left
    assert found.alone == pytest.approx(float((alone - together).abs().max()), rel=1e-5)
    assert found.alone > 0.05
    assert found.masked is None and found.last is None
    assert found.counted is not None and found.counted < 1e-5


@torch.no_grad()
def test_without_a_mask_it_is_said_how_far_a_mask_would_help() -> None:
    loaded, encoded, trace = padded("bert", "right")
    bare = {name: one for name, one in encoded.inputs.items() if name != "attention_mask"}
    (found,) = padded_texts(loaded.model, bare, trace, predicts_next=False)
    alone = loaded.model(input_ids=encoded.inputs["input_ids"][:1, :5]).logits[0]
    together = loaded.model(input_ids=encoded.inputs["input_ids"]).logits[0, :5]
    assert found.alone == pytest.approx(float((alone - together).abs().max()), rel=1e-5)
    assert found.masked is not None and found.masked < 1e-5 < found.alone


@torch.no_grad()
def test_the_last_column_of_a_padded_row_is_read_beside_its_last_real_token() -> None:
    loaded, encoded, trace = padded("llama", "right")
    logits = loaded.model(**encoded.inputs).logits[0]
    (found,) = padded_texts(loaded.model, encoded.inputs, trace, predicts_next=True)
    assert found.last == (int(logits[-1].argmax()), int(logits[4].argmax()))
    assert found.alone < 1e-5


def test_texts_of_one_length_have_nothing_to_say() -> None:
    loaded = loaded_tiny("gpt2")
    encoded = encode(loaded, Request(ids=random_rows((5, 5))))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    assert padded_texts(loaded.model, encoded.inputs, trace, predicts_next=True) == ()


@torch.no_grad()
def test_the_size_of_the_outputs_is_their_largest_number() -> None:
    loaded, encoded, trace = padded("gpt2", "right")
    size, rounding = output_size(loaded.model, encoded.inputs, trace)
    assert size == pytest.approx(float(loaded.model(**encoded.inputs).logits.abs().max()))
    assert rounding == 1e-3


@pytest.mark.parametrize(("implementation", "given"), [("eager", True), ("sdpa", False)])
def test_attention_weights_are_returned_by_eager_attention_alone(implementation: str, given: bool) -> None:
    loaded, encoded, _ = padded("llama", "right")
    model: Any = loaded.model
    before = model.config._attn_implementation
    model.set_attn_implementation(implementation)
    try:
        assert returns_weights(loaded.model, encoded.inputs, loaded.card) is given
    finally:
        model.set_attn_implementation(before)


def test_a_padding_token_whose_embedding_is_no_number_is_named() -> None:
    loaded, encoded, trace = padded("bert", "right")
    table: Any = loaded.model.get_input_embeddings().weight
    own = table.detach()[0].clone()
    assert broken_padding(loaded.model, trace) == ()
    try:
        with torch.no_grad():
            table[0] = float("nan")
        assert broken_padding(loaded.model, trace) == (0,)
    finally:
        with torch.no_grad():
            table[0] = own
    assert encoded.inputs


@torch.no_grad()
def test_an_encoder_called_as_a_decoder_moves_before_the_last_token() -> None:
    loaded, encoded, trace = padded("bert", "right")
    moved = moved_by_last_token(loaded.model, encoded.inputs, trace)
    assert moved is not None and moved[0] > 0.01
    loaded, encoded, trace = padded("gpt2", "right")
    moved = moved_by_last_token(loaded.model, encoded.inputs, trace)
    assert moved is not None and moved[0] < 1e-6


def test_without_ids_nothing_is_asked() -> None:
    loaded, encoded, trace = padded("gpt2", "right")
    assert moved_by_last_token(loaded.model, {"inputs_embeds": torch.zeros(1, 2, 32)}, trace) is None
    short = replace(trace, batch=encode(loaded, Request(ids=((5,),))).batch)
    assert moved_by_last_token(loaded.model, encoded.inputs, short) is None


@torch.no_grad()
def test_16_bits_round_and_32_do_not() -> None:
    loaded = loaded_tiny("t5")
    if not uses_interface(loaded.model):
        pytest.skip("this release of transformers writes T5's attention by hand: there is one implementation to run")
    encoded = encode(loaded, Request(ids=random_rows((5, 9)), target_ids=random_rows((4, 6), seed=1)))
    model = deepcopy(loaded.model).bfloat16()
    trace = run(model, encoded.inputs, encoded.batch, loaded.card)
    plain = deepcopy(model).float()(**encoded.inputs).logits
    assert trace.drift is not None and trace.drift > 0.05 * float(plain.abs().max())
    assert drifts_by_rounding(model, encoded.inputs, trace, float(plain.abs().max()))
    assert model.dtype is torch.bfloat16
    assert not drifts_by_rounding(loaded.model, encoded.inputs, trace, 1.0)
