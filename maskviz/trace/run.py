"""One forward pass of a loaded model becomes a Trace."""

from __future__ import annotations

import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.heads import HeadMask
from maskviz.core.rules import Causal
from maskviz.core.trace import AttentionCall, Batch, ModelCard, Outputs, Trace
from maskviz.core.words import Stack
from maskviz.trace.doubts import doubts, largest_difference
from maskviz.trace.evidence import masks_of
from maskviz.trace.naming import layer_counts, layers_of, stacks_of
from maskviz.trace.outputs import kept_outputs, main_output
from maskviz.trace.recorder import Captured, Expected, Recorder
from maskviz.trace.taps import evaluating, listening

Inputs = Mapping[str, torch.Tensor]

_REMEDY = "check the ids and the text's length against the model's config"


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
    recorder = Recorder(_expected(batch, card))
    captured = _listened_forward(model, inputs, recorder, card)
    calls = _calls(recorder, batch, card)
    if not calls:
        raise CannotTraceError(
            f"no attention was heard in {card.architecture}",
            "maskviz hears models on transformers' attention interface, and hand-written softmax over query x key",
        )
    drift = largest_difference(plain, main_output(captured), batch.decoder or batch)
    trace = Trace(card, batch, calls, drift=drift, plain_attention=plain_attention)
    outputs = _outputs(captured, trace, model)
    return replace(trace, outputs=outputs, notes=doubts(trace, plain))


def run_gated(model: PreTrainedModel, inputs: Inputs, plain: Trace, head_mask: HeadMask) -> Trace:
    """Run again with gates on heads, applied to each head's output before the output projection.

    Args:
        model, inputs: As given to `run`.
        plain: What `run` returned for them; its calls say which head is where.
        head_mask: The gates.

    Raises:
        UsageError: the mask names a head that did not run.
    """
    recorder = Recorder(_expected(plain.batch, plain.card), _gates(plain, head_mask))
    captured = _listened_forward(model, inputs, recorder, plain.card)
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


def _expected(batch: Batch, card: ModelCard) -> Expected:
    sides = [batch] if batch.decoder is None else [batch, batch.decoder]
    return Expected(batch.rows, frozenset(side.length for side in sides), frozenset(card.heads))


def _gates(plain: Trace, head_mask: HeadMask) -> list[FloatArray | None]:
    """The gates of each call, float32 [head]; every head that is gated must have run."""
    ran = {(call.stack.value, call.layer, head) for call in plain.calls for head in range(call.heads)}
    for stack, head, _ in head_mask.changed():
        if (stack, head.layer, head.head) not in ran:
            layers = ", ".join(str(call.layer) for call in plain.of_stack(Stack(stack)))
            raise UsageError(f"head {head} has no attention to gate", f"attention runs in {stack} layers {layers}")
    gates = [head_mask.of(call.stack, call.layer) for call in plain.calls]
    return [gate if gate is None else gate[: call.heads] for gate, call in zip(gates, plain.calls, strict=True)]


def _plain_forward(model: PreTrainedModel, inputs: Inputs, card: ModelCard) -> Any:
    with torch.no_grad(), evaluating(model), _explained(card, "fails on this input"):
        return model(**inputs)


def _listened_forward(model: PreTrainedModel, inputs: Inputs, recorder: Recorder, card: ModelCard) -> Any:
    with _explained(card, "runs plainly, but not while it is listened to"), torch.no_grad(), listening(model, recorder):
        return model(**inputs)


@contextmanager
def _explained(card: ModelCard, what: str) -> Iterator[None]:
    """Turn what a model raises into a CannotTraceError; what our own code raises keeps its traceback."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise CannotTraceError(f"{card.device} has too little memory", "cut the text, or try --device cpu") from error
    except Exception as error:
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        if isinstance(error, CannotTraceError) or Path(raised_in).is_relative_to(Path(__file__).parents[1]):
            raise
        summary = (f"{type(error).__name__}: {error}".splitlines() or [""])[0]
        raise CannotTraceError(f"{card.architecture} {what}: {summary}", _REMEDY) from error


def _calls(recorder: Recorder, batch: Batch, card: ModelCard) -> tuple[AttentionCall, ...]:
    captured = recorder.calls
    if not captured:
        return ()
    paths = [call.module for call in captured]
    stacks = stacks_of(paths, card.encoder_decoder, causal=_is_causal(captured[0], recorder))
    layers = layers_of(paths, stacks, layer_counts(card, stacks))
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
    """Whether a lone stack is a decoder: its first mask was built from a causal rule, or hides the future."""
    built = [one.rule for one in recorder.heard if one.tensor is first.source] or [one.rule for one in recorder.heard]
    if built:
        return any(isinstance(leaf, Causal) for leaf in built[0].leaves())
    queries, keys = first.visible.shape[2:]
    return queries > 1 and not np.triu(first.visible.any(axis=(0, 1)), k=1 + keys - queries).any()


def _keep_of(call: Captured, stack: Stack, batch: Batch) -> BoolArray | None:
    decoder = stack is Stack.DECODER and batch.decoder is not None
    side = batch.decoder if decoder and batch.decoder is not None else batch
    return side.keep if side.length == call.visible.shape[3] else None


def _outputs(captured: Any, trace: Trace, model: PreTrainedModel) -> Outputs | None:
    last = trace.calls[-1]
    causal = trace.batch.decoder is not None or last.stack is Stack.DECODER
    independent = getattr(model.config, "problem_type", None) == "multi_label_classification"
    return kept_outputs(captured, trace.batch, causal=causal, labels=_labels(model), independent=independent)


def _labels(model: PreTrainedModel) -> tuple[str, ...]:
    names = getattr(model.config, "id2label", None) or {}
    return tuple(str(names[index]) for index in sorted(names))
