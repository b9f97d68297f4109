"""One forward pass of a loaded model becomes a Trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.errors import CannotTraceError
from maskviz.core.heads import HeadMask
from maskviz.core.rules import Causal
from maskviz.core.trace import AttentionCall, Batch, ModelCard, Outputs, Trace
from maskviz.core.words import Stack
from maskviz.trace.evidence import masks_of
from maskviz.trace.naming import layers_of, stacks_of
from maskviz.trace.outputs import kept_outputs, main_output
from maskviz.trace.recorder import Captured, Recorder
from maskviz.trace.taps import listening

Inputs = Mapping[str, torch.Tensor]


def run(model: PreTrainedModel, inputs: Inputs, batch: Batch, card: ModelCard) -> Trace:
    """Run a model plainly, then again while listening, and return what was heard.

    Args:
        model: The model, on its device.
        inputs: Arguments of its forward, on the same device.
        batch: What the inputs stand for.
        card: What the model is.

    Raises:
        CannotTraceError: the model raises on this input, or makes no attention call that can be heard.
    """
    plain_attention = str(getattr(model.config, "_attn_implementation", None) or "eager")
    plain = main_output(_plain_forward(model, inputs, card))
    recorder = Recorder(batch.rows)
    captured = _listened_forward(model, inputs, recorder)
    calls = _calls(recorder, batch, card)
    if not calls:
        raise CannotTraceError(
            f"no attention was heard in {card.architecture}",
            "maskviz hears models on transformers' attention interface and hand-written softmax over 4 dimensions",
        )
    trace = Trace(card, batch, calls)
    return replace(
        trace,
        outputs=_outputs(captured, trace, model),
        drift=_largest_difference(plain, main_output(captured), batch.decoder or batch),
        plain_attention=plain_attention,
        notes=_leaks(trace),
    )


def run_gated(model: PreTrainedModel, inputs: Inputs, plain: Trace, head_mask: HeadMask) -> Trace:
    """Run again with gates on heads, applied to each head's output before the output projection.

    Args:
        model, inputs: As given to `run`.
        plain: What `run` returned for them; its calls say which head is where.
        head_mask: The gates.
    """
    recorder = Recorder(plain.batch.rows, [head_mask.of(call.stack, call.layer) for call in plain.calls])
    captured = _listened_forward(model, inputs, recorder)
    calls = tuple(replace(call, pattern=heard.pattern) for call, heard in zip(plain.calls, recorder.calls, strict=True))
    trace = replace(plain, calls=calls, head_mask=head_mask, drift=None, plain_attention="")
    return replace(trace, outputs=_outputs(captured, trace, model))


def head_shapes(trace: Trace) -> dict[str, tuple[int, int]]:
    """(layers, heads) of each stack that ran, as `parse_head_mask` takes them."""
    return {
        stack.value: (
            max(call.layer for call in trace.of_stack(stack)) + 1,
            max(call.heads for call in trace.of_stack(stack)),
        )
        for stack in trace.stacks
    }


def _plain_forward(model: PreTrainedModel, inputs: Inputs, card: ModelCard) -> Any:
    training = model.training
    model.train(False)
    try:
        with torch.no_grad():
            return model(**inputs)
    except (RuntimeError, ValueError, IndexError, TypeError, NotImplementedError, AttributeError, KeyError) as error:
        # Nothing of ours is in this run: whatever it raises is the model's answer to this input.
        summary = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CannotTraceError(f"{card.architecture} fails on this input: {summary}", _remedy(error)) from error
    finally:
        model.train(training)


def _remedy(error: Exception) -> str:
    if isinstance(error, torch.OutOfMemoryError):
        return "try a shorter text, --max-length, or --device cpu"
    return "the model raises this without maskviz too; check the text's length and the ids against its config"


def _listened_forward(model: PreTrainedModel, inputs: Inputs, recorder: Recorder) -> Any:
    with torch.no_grad(), listening(model, recorder):
        return model(**inputs)


def _calls(recorder: Recorder, batch: Batch, card: ModelCard) -> tuple[AttentionCall, ...]:
    captured = recorder.calls
    if not captured:
        return ()
    paths = [call.module for call in captured]
    stacks = stacks_of(paths, card.encoder_decoder, causal=_is_causal(captured[0], recorder))
    layers = layers_of(paths, stacks)
    keeps = [_keep_of(call, stack, batch) for call, stack in zip(captured, stacks, strict=True)]
    masks = masks_of(captured, recorder.heard, keeps)
    return tuple(
        AttentionCall(stack, layer, call.module, call.heads, _key_heads(call, card), mask, call.pattern)
        for stack, layer, call, mask in zip(stacks, layers, captured, masks, strict=True)
    )


def _key_heads(call: Captured, card: ModelCard) -> int:
    """Hand-written attention repeats its key heads before it can be heard: there the config is asked."""
    if call.source is None and len(card.key_heads) == 1 and card.heads == (call.heads,):
        return card.key_heads[0]
    return call.key_heads


def _is_causal(first: Captured, recorder: Recorder) -> bool:
    """Whether a lone stack is a decoder: its first mask hides the future, or was built from a rule that does."""
    visible = first.visible
    queries, keys = visible.shape[2:]
    if queries > 1:
        return not np.triu(visible.any(axis=(0, 1)), k=1 + keys - queries).any()
    return any(isinstance(leaf, Causal) for heard in recorder.heard[:1] for leaf in heard.rule.leaves())


def _keep_of(call: Captured, stack: Stack, batch: Batch) -> BoolArray | None:
    decoder = stack is Stack.DECODER and batch.decoder is not None
    side = batch.decoder if decoder and batch.decoder is not None else batch
    return side.keep if side.length == call.visible.shape[3] else None


def _outputs(captured: Any, trace: Trace, model: PreTrainedModel) -> Outputs | None:
    last = trace.calls[-1]
    causal = trace.batch.decoder is not None or last.stack is Stack.DECODER
    return kept_outputs(captured, trace.batch, causal=causal, labels=_labels(model))


def _labels(model: PreTrainedModel) -> tuple[str, ...]:
    names = getattr(model.config, "id2label", None) or {}
    return tuple(str(names[index]) for index in sorted(names))


def _largest_difference(plain: torch.Tensor | None, captured: torch.Tensor | None, side: Batch) -> float | None:
    """Largest absolute difference of two outputs over real tokens; padding rows differ by design and say nothing."""
    if plain is None or captured is None or plain.shape != captured.shape:
        return None
    difference = (plain.float() - captured.float()).abs()
    if difference.shape[:2] == side.ids.shape:
        difference = difference[torch.as_tensor(side.keep.copy(), device=difference.device)]
    return float(difference.max()) if difference.numel() else 0.0


def _leaks(trace: Trace) -> tuple[str, ...]:
    """Notes on calls whose attention falls on cells their mask blocks: then the mask is not the whole story."""
    leaking = [f"{call.stack} {call.layer}" for call in trace.calls if _leaked(call, trace.real_queries(call)) > 1e-6]
    return (f"attention falls on blocked cells in {', '.join(leaking)}",) if leaking else ()


def _leaked(call: AttentionCall, real: BoolArray) -> float:
    if call.pattern is None:
        return 0.0
    blocked: FloatArray = np.where(call.mask.visible, 0, call.pattern).max(axis=(1, 3))
    return float(np.max(blocked[real], initial=0.0))
