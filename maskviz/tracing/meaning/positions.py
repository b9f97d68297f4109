"""Whether a plain call with left padding is itself a trap: measured, not guessed."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from transformers import PreTrainedModel

from maskviz.core.parameters import parameter
from maskviz.core.run.trace import Trace
from maskviz.core.words import Role, Stack
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
