"""What is measured before it is said: drift, leaks, layers not heard, positions behind left padding."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.run.trace import CONTENT, AttentionCall, Trace
from maskviz.core.words import Role, Stack
from maskviz.core.writing import parameter, ranges
from maskviz.tracing.outputs import main_output

# Above rounding in float32; in 16 bits the drift of the run itself says what rounding is.
_NOTICEABLE = 1e-3
_TIMES_THE_DRIFT = 4


def position_note(model: PreTrainedModel, inputs: Mapping[str, Any], trace: Trace) -> tuple[str, ...]:
    """A note where left padding without position ids moves the outputs of real tokens, else nothing.

    The model is run plainly with and without the positions `generate()` would pass. Models that take none, or
    whose positions do not depend on padding, agree with themselves.
    """
    batch = trace.batch
    left_padded = not batch.keep[:, 0].all()
    takes_positions = "position_ids" in inspect.signature(model.forward).parameters
    if (
        not left_padded
        or not takes_positions
        or batch.position_ids is not None
        or not trace.calls
        or trace.calls[0].stack is Stack.ENCODER
        or any(Role.IMAGE in row for row in batch.roles)  # with images, models count in two dimensions
    ):
        return ()
    keep = inputs["attention_mask"]
    positions = (keep.cumsum(dim=1) - 1).clamp(min=0)
    with torch.no_grad():
        plain = main_output(model(**inputs))
        counted = main_output(model(**inputs, position_ids=positions))
    if plain is None or counted is None or plain.shape != counted.shape or plain.shape[:2] != keep.shape:
        return ()
    moved = float((plain - counted).abs()[keep.bool()].max())
    if moved <= max(_NOTICEABLE, _TIMES_THE_DRIFT * (trace.drift or 0.0)):
        return ()
    return (
        f"left padding shifts this model's positions: with {parameter('position_ids', 'cumsum')}, as generate() calls "
        f"it, its outputs for real tokens differ by up to {moved:.2g}",
    )


# Largest share of the outputs' own size that listening may move them by before it is no longer rounding; in 16 bits
# only where the same weights could not be run in float32 beside.
_ROUNDING = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
# Two runs in 16 bits that each round by one are at most this far apart.
_APART = 2.0
_LEAK = 1e-6


def doubts(trace: Trace, plain: torch.Tensor | None) -> tuple[str, ...]:
    """Sentences on what is not as it should be, none for a clean run."""
    return (*_moved(trace, plain), *_leaks(trace), *_misnamed(trace), *_unheard(trace))


def drifted(trace: Trace, plain: torch.Tensor | None) -> bool:
    """Whether listening moved the outputs by more than rounding, or to what is no number."""
    if trace.drift is None or plain is None:
        return False
    size = max(1.0, float(plain.float().abs().nan_to_num(0.0, 0.0, 0.0).max()) if plain.numel() else 1.0)
    allowed = _ROUNDING.get(plain.dtype, 1e-4) * size if trace.rounding is None else _APART * trace.rounding
    return not trace.drift <= allowed


def _moved(trace: Trace, plain: torch.Tensor | None) -> tuple[str, ...]:
    if not drifted(trace, plain) or trace.drift is None:
        return ()
    if math.isnan(trace.drift):
        return ("the model's outputs are not numbers (NaN) on this input",)
    if trace.rounding is not None:
        return (
            f"listening moved the outputs by {trace.drift:.2g}, where {trace.card.dtype} rounds them by "
            f"{trace.rounding:.2g} (beside the same weights in float32): do not rely on this run",
        )
    return (f"listening moved the outputs by {trace.drift:.2g}: more than rounding, so do not rely on this run",)


def _leaks(trace: Trace) -> tuple[str, ...]:
    """Attention on cells the mask blocks: then the mask is not the whole story."""
    leaking = [f"{call.stack} {call.layer}" for call in trace.calls if _leaked(call, trace.real_queries(call)) > _LEAK]
    return (f"attention falls on blocked cells in {', '.join(leaking)}",) if leaking else ()


def _misnamed(trace: Trace) -> tuple[str, ...]:
    """Masks that are not what the function they were made by is called."""
    said = []
    for claimed, calls in trace.misnamed().items():
        where = ", ".join(f"{call.stack} {call.layer}" for call in calls)
        said.append(
            f"the mask of {where} was made by a function that is called {claimed} and lets other cells through: "
            "its rule is not known"
        )
    return tuple(said)


def _leaked(call: AttentionCall, real: BoolArray) -> float:
    if call.pattern is None:
        return 0.0
    blocked: FloatArray = np.where(call.mask.visible, 0, call.pattern).max(axis=(1, 3))
    return float(np.max(blocked[real], initial=0.0))


def _unheard(trace: Trace) -> tuple[str, ...]:
    """Layers without a mask to show, and what they are."""
    groups: dict[tuple[Stack, str, str], list[int]] = {}
    for layer in trace.silent:
        groups.setdefault((layer.stack, layer.kind, layer.name), []).append(layer.layer)
    several = trace.card.encoder_decoder or len({*trace.stacks, *(stack for stack, _, _ in groups)}) > 1
    return tuple(
        _said(f"{stack} " if several else "", kind, name, layers) for (stack, kind, name), layers in groups.items()
    )


def _said(stack: str, kind: str, name: str, layers: list[int]) -> str:
    one = len(layers) == 1
    who = f"{stack}layer{'' if one else 's'} {ranges(layers)}"
    if kind == CONTENT:
        return f"{who}: which cells are blocked depends on content, so weights are needed to tell"
    if kind:
        return f"{who}: {kind}{f' ({name})' if name else ''}, no attention matrix"
    verb, them = ("is", "it") if one else ("are", "them")
    return f"{who} {verb} not shown: no softmax over query x key was heard in {them}"
