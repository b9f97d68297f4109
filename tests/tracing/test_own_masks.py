"""The picture is the implementation a model runs, also where eager attention, which is listened to, masks otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import masking_utils
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

import maskviz
from maskviz.core.arrays import BoolArray
from maskviz.core.words import Backend
from maskviz.tracing.backends.handing import hand_over
from tests.architectures import tiny
from tests.image_text import tiny_image_text

# Before 5.10 PaliGemma takes a text alone for one prefix, which its masks say.
MASK_LEFT_OUT = pytest.mark.skipif(
    not hasattr(masking_utils, "remap_positions_for_packed_sequence"), reason="this release builds the mask"
)
IDS = {"input_ids": torch.tensor([[5, 6, 7, 8, 9]])}


def seen_by_gradient(model: Any, inputs: dict[str, torch.Tensor]) -> BoolArray:
    """bool [query, key] of a model of one row: whether logits of a query move with the embedding of a key."""
    embedded = model.get_input_embeddings()(inputs["input_ids"]).detach().requires_grad_()
    more = {name: one for name, one in inputs.items() if name != "input_ids"}
    logits = model(inputs_embeds=embedded, **more).logits[0]
    rows = [torch.autograd.grad(one.sum(), embedded, retain_graph=True)[0][0].abs().sum(-1) > 0 for one in logits]
    return torch.stack(rows).numpy()


@MASK_LEFT_OUT
def test_a_mask_left_out_is_drawn_as_the_kernel_takes_it() -> None:
    model = tiny_image_text("paligemma")
    trace = maskviz.trace(model, IDS)
    expected = seen_by_gradient(model, IDS)
    assert expected.all(), "transformers runs it so: this test must be able to fail"
    for call in trace.calls:
        assert np.array_equal(call.mask.visible[0, 0], expected)
        assert str(call.mask.rule) == "bidirectional"
    assert trace.drift is not None
    assert trace.drift < 1e-5
    (note,) = (note for note in trace.notes if "drawn is what sdpa does" in note)
    assert note.startswith("decoder 0, decoder 1, decoder 2: ")
    assert note.endswith("which shows 10 cells that eager attention blocks (causal)")
    assert not any("listening moved" in note for note in trace.notes)


@MASK_LEFT_OUT
def test_the_same_model_run_eager_is_drawn_as_eager() -> None:
    model = tiny_image_text("paligemma")
    model.set_attn_implementation("eager")
    trace = maskviz.trace(model, IDS)
    assert {str(call.mask.rule) for call in trace.calls} == {"causal"}
    assert not any("drawn is what" in note for note in trace.notes)


@MASK_LEFT_OUT
def test_what_a_backend_departs_from_is_what_is_drawn() -> None:
    model = tiny_image_text("paligemma")
    trace = maskviz.trace(model, IDS)
    sdpa, eager = (hand_over(model, IDS, trace, backend) for backend in (Backend.SDPA, Backend.EAGER))
    assert all(np.array_equal(one.mask.visible, one.call.mask.visible) for one in sdpa.calls if one.mask is not None)
    assert all(one.mask is not None and not one.mask.visible.all() for one in eager.calls)


def test_gates_hold_under_the_masks_that_are_drawn() -> None:
    model = tiny_image_text("paligemma")
    trace = maskviz.trace(model, IDS, head_mask="0:0")
    assert trace.before is not None
    for call, before in zip(trace.calls, trace.before.calls, strict=True):
        assert np.array_equal(call.mask.visible, before.mask.visible)
        assert call.mask.visible.all()
        assert call.pattern is not None
        assert float(np.triu(call.pattern[0, 0], 1).max()) > 0


@MASK_LEFT_OUT
def test_without_weights_the_config_is_drawn_as_it_would_run() -> None:
    config = tiny_image_text("paligemma").config
    with torch.device("meta"):
        model = type(tiny_image_text("paligemma"))(config)
    assert {str(call.mask.rule) for call in maskviz.trace(model, IDS).calls} == {"bidirectional"}


@pytest.mark.parametrize("wrong", [True, False])
def test_a_module_that_says_the_opposite_of_its_mask_is_asked_what_runs(wrong: bool) -> None:
    """A Llama whose modules are set bidirectional: under sdpa its skipped masks let everything through."""
    model: Any = tiny("llama")
    for layer in model.model.layers[1:]:
        layer.self_attn.is_causal = not wrong
    trace = maskviz.trace(model, IDS)
    assert [bool(call.mask.visible.all()) for call in trace.calls] == [False, wrong, wrong]
    assert any("drawn is what sdpa does" in note for note in trace.notes) is wrong
    assert trace.drift is not None
    assert trace.drift < 1e-4


def test_an_implementation_that_is_not_known_is_listened_to_as_eager() -> None:
    model = tiny("llama")
    ALL_ATTENTION_FUNCTIONS["mine"] = ALL_ATTENTION_FUNCTIONS["sdpa"]
    try:
        model.config._attn_implementation = "mine"
        trace = maskviz.trace(model, IDS)
    finally:
        model.config._attn_implementation = "sdpa"
        del ALL_ATTENTION_FUNCTIONS["mine"]
    assert len(trace.calls) == 3
