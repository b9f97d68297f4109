"""Texts fed part by part: the stitched pattern is what `generate()` returns, the masks are the plain run's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from maskviz.core.arrays import FloatArray
from maskviz.core.errors import CannotTraceError
from maskviz.core.run.heads import parse_head_mask
from maskviz.core.run.trace import Trace
from maskviz.core.words import CacheKind, Stack
from maskviz.load.texts.encode import Encoded, Request, encode
from maskviz.load.texts.generate import continued
from maskviz.tracing.calling import Calling
from maskviz.tracing.run import head_shapes, run, run_gated
from tests.architectures import ENCODER_DECODERS, tiny
from tests.tracing.conftest import loaded_tiny, padded_request, random_rows

# Full attention, windows, chunks, hand-written attention, and both kinds of encoder-decoders.
MODELS = ["gpt2", "llama", "mistral", "gemma3", "gpt_oss", "llama4", "bloom", "falcon", "t5", "bart"]
CACHES = [CacheKind.DYNAMIC, CacheKind.STATIC]
STEPS = 4


def stepped(model_type: str, cache: CacheKind) -> tuple[Trace, Encoded, int]:
    loaded = loaded_tiny(model_type)
    encoded, start = continued(loaded, padded_request(model_type), STEPS)
    steps = (encoded.batch.decoder or encoded.batch).length - start
    calling = Calling((start, *[1] * steps), 0, cache)
    return run(loaded.model, encoded.inputs, encoded.batch, loaded.card, calling), encoded, start


def generated_attentions(model_type: str, request: Request, steps: int) -> tuple[torch.Tensor, Any]:
    """What generate() returns of its own run, eager and never tapped."""
    model: Any = tiny(model_type, attention="eager")
    encoded = encode(loaded_tiny(model_type), request)
    returned = model.generate(
        **encoded.inputs,
        max_new_tokens=steps + 1,
        do_sample=False,
        output_attentions=True,
        return_dict_in_generate=True,
    )
    return returned.sequences, returned


def stitched(steps: Any, layer: int, total: int) -> FloatArray:
    """Maps [batch, head, query, key] of each step below each other, by a loop."""
    rows = []
    end = 0
    for step in steps:
        own = step[layer].numpy()
        end += own.shape[2]
        row = np.zeros((*own.shape[:3], total), np.float32)
        first = max(0, end - own.shape[3])
        row[..., first : first + own.shape[3]] = own[..., :total]
        rows.append(row)
    return np.concatenate(rows, axis=2)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("model_type", MODELS)
def test_the_stitched_pattern_is_what_generate_returns(model_type: str, cache: CacheKind) -> None:
    try:
        trace, encoded, start = stepped(model_type, cache)
    except CannotTraceError as error:
        if cache is CacheKind.STATIC:
            pytest.skip(f"this model runs with no static cache: {error.message}")
        raise
    side = encoded.batch.decoder or encoded.batch
    count = side.length - start
    sequences, returned = generated_attentions(model_type, padded_request(model_type), count)
    assert np.array_equal(sequences[:, start : side.length].numpy(), side.ids[:, start:])
    steps = returned.decoder_attentions if model_type in ENCODER_DECODERS else returned.attentions
    for layer, call in enumerate(trace.of_stack(Stack.DECODER)):
        assert call.pattern is not None
        own = stitched(steps, layer, side.length)
        real = side.keep
        ours, theirs = (array.transpose(0, 2, 1, 3)[real] for array in (call.pattern, own))
        np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=0)


@pytest.mark.parametrize("cache", CACHES)
@pytest.mark.parametrize("model_type", MODELS)
def test_masks_fed_in_parts_are_those_of_the_whole_text(model_type: str, cache: CacheKind) -> None:
    loaded = loaded_tiny(model_type)
    encoded = encode(loaded, padded_request(model_type))
    whole = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    length = (encoded.batch.decoder or encoded.batch).length
    try:
        calling = Calling((length - 2, 2), 1, cache)
        trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card, calling)
    except CannotTraceError as error:
        if cache is CacheKind.STATIC:
            pytest.skip(f"this model runs with no static cache: {error.message}")
        raise
    for call in trace.of_stack(Stack.DECODER):
        same = next(one for one in whole.of_stack(Stack.DECODER) if one.layer == call.layer)
        assert np.array_equal(call.mask.visible, same.mask.visible[:, :, -2:])
        assert (call.mask.rule, call.mask.query_offset) == (same.mask.rule, length - 2)
        assert call.mask.agrees is True
        assert np.array_equal(trace.real_queries(call), whole.real_queries(same)[:, -2:])
        assert call.pattern is not None
        assert same.pattern is not None
        rows = trace.real_queries(call)
        ours, theirs = (array.transpose(0, 2, 1, 3)[rows] for array in (call.pattern, same.pattern[:, :, -2:]))
        np.testing.assert_allclose(ours, theirs, atol=2e-5, rtol=0)
    assert trace.drift is not None
    assert trace.drift < 1e-4


def test_a_sliding_cache_has_dropped_the_tokens_outside_its_window() -> None:
    """Mistral's window of 4 leaves 3 cached tokens: after 7 of 9, the keys handed over are 4 to 8."""
    loaded = loaded_tiny("mistral")
    encoded = encode(loaded, Request(ids=random_rows((9,))))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card, Calling((7, 2), 1))
    visible = trace.calls[0].mask.visible[0, 0]
    assert visible.astype(int).tolist() == [[0, 0, 0, 0, 1, 1, 1, 1, 0], [0, 0, 0, 0, 0, 1, 1, 1, 1]]
    assert str(trace.calls[0].mask.rule) == "causal ∧ window(4)"


def test_losses_after_a_cache_are_those_of_the_whole_text() -> None:
    loaded = loaded_tiny("gpt2")
    encoded = encode(loaded, Request(ids=random_rows((9,))))
    whole = run(loaded.model, encoded.inputs, encoded.batch, loaded.card).outputs
    part = run(loaded.model, encoded.inputs, encoded.batch, loaded.card, Calling((5, 4), 1)).outputs
    assert whole is not None and part is not None
    assert whole.token_loss is not None and part.token_loss is not None
    assert np.isnan(part.token_loss[:, :6]).all()
    np.testing.assert_allclose(part.token_loss[:, 6:], whole.token_loss[:, 6:], atol=1e-5)
    assert part.places.tolist() == whole.places.tolist()
    np.testing.assert_allclose(part.logits, whole.logits, atol=1e-5)


def test_gates_hold_in_every_part() -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, Request(ids=random_rows((9,))))
    gated = []
    for calling in (Calling(), Calling((5, 1, 1, 1, 1), 0)):
        trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card, calling)
        mask = parse_head_mask("0:1; 2:0,3", head_shapes(trace))
        gated.append(run_gated(loaded.model, encoded.inputs, trace, mask, calling).outputs)
    assert gated[0] is not None and gated[1] is not None
    np.testing.assert_allclose(gated[0].logits, gated[1].logits, atol=1e-5)


def test_a_model_without_a_cache_is_said_to_have_none() -> None:
    loaded = loaded_tiny("bert")
    encoded = encode(loaded, Request(ids=random_rows((9,))))
    with pytest.raises(CannotTraceError, match="returns no key-value cache"):
        run(loaded.model, encoded.inputs, encoded.batch, loaded.card, Calling((5, 4), 1))
