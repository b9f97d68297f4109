"""Masks beside what the model does: gradients at the values, and outputs that must not move."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from maskviz.core.arrays import BoolArray
from maskviz.core.errors import UsageError
from maskviz.core.run.trace import Mask, Trace
from maskviz.core.words import Stack
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.experiments.prove import prove
from maskviz.tracing.run import run
from tests.architectures import ARCHITECTURES
from tests.tracing.conftest import Example, loaded_tiny, random_rows


def test_every_architecture_does_what_its_masks_say(example: Example) -> None:
    proof = prove(example.model, example.encoded.inputs, example.trace)
    for one in proof.calls:
        assert one.note == ""
        assert one.proven is True, one.differs
    assert proof.proven
    causal = example.trace.calls[-1].stack is not Stack.ENCODER
    assert (proof.future is not None) is causal
    if proof.future is not None:
        assert proof.future.moved < 1e-4


def with_mask(trace: Trace, visible: BoolArray) -> Trace:
    """The trace with another mask in its first call."""
    call = trace.calls[0]
    mask = Mask.explained(visible, call.mask.rule)
    return replace(trace, calls=(replace(call, mask=mask, pattern=None), *trace.calls[1:]))


@pytest.mark.parametrize("model_type", ["llama", "bloom", "bert"])
def test_a_wrong_mask_is_found_cell_by_cell(model_type: str) -> None:
    loaded = loaded_tiny(model_type)
    encoded = encode(loaded, Request(ids=random_rows((7,))))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    visible = trace.calls[0].mask.visible.copy()
    visible[0, 0, 5, 2] ^= True
    proof = prove(loaded.model, encoded.inputs, with_mask(trace, visible))
    assert not proof.proven
    assert proof.calls[0].differs is not None
    assert {tuple(cell[2:]) for cell in proof.calls[0].differs.tolist()} == {(5, 2)}
    assert all(one.proven for one in proof.calls[1:])


def test_a_leak_from_the_future_is_found() -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, Request(ids=random_rows((7,))))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    own = loaded.model.forward

    def leaking(**inputs: torch.Tensor) -> object:
        everything = torch.zeros(1, 1, 7, 7)
        return own(**{**inputs, "attention_mask": everything})

    object.__setattr__(loaded.model, "forward", leaking)
    proof = prove(loaded.model, encoded.inputs, trace)
    assert proof.future is not None
    assert not proof.future.proven
    assert proof.future.moved > 1e-3
    assert not proof.calls[0].proven


def test_a_model_that_may_look_ahead_is_not_asked_to_hide_the_future() -> None:
    numbers = ARCHITECTURES["gemma3"][2] | {"use_bidirectional_attention": True}
    torch.manual_seed(0)
    model = Gemma3ForCausalLM(Gemma3TextConfig(**numbers)).train(False)
    loaded = Loaded(model, None, card_of(model.config, "tiny", "Gemma3ForCausalLM"))
    encoded = encode(loaded, Request(ids=random_rows((7,))))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    if not trace.calls[0].mask.visible[0, 0, 0, 1]:
        pytest.skip("this release of transformers keeps Gemma 3's text model causal")
    proof = prove(loaded.model, encoded.inputs, trace)
    assert proof.future is None
    assert proof.proven


def test_proving_leaves_the_model_as_it_was() -> None:
    loaded = loaded_tiny("gpt2")
    encoded = encode(loaded, Request(ids=random_rows((7,))))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    with torch.no_grad():
        before = loaded.model(**encoded.inputs).logits
    prove(loaded.model, encoded.inputs, trace)
    with torch.no_grad():
        assert torch.equal(before, loaded.model(**encoded.inputs).logits)
    assert all(parameter.grad is None for parameter in loaded.model.parameters())


def test_long_texts_are_refused_before_they_take_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskviz.tracing.experiments.prove.MOST_TOKENS", 6)
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, Request(ids=random_rows((7,))))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    with pytest.raises(UsageError, match="takes up to 6 tokens, there are 7"):
        prove(loaded.model, encoded.inputs, trace)
