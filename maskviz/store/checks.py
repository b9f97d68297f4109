"""What a run read from a file must be before it is drawn as one: files are edited, cut and made by others."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from maskviz.core.arrays import FloatArray
from maskviz.core.trace import ModelCard, Trace
from maskviz.core.words import Stack

_COUNTS = ("layers", "heads", "key_heads")
_NUMBERS = ("hidden_size", "vocabulary", "positions")
_TEXTS = ("name", "architecture", "model_type", "dtype", "device", "note")
# Attention weights are rounded in 16 bits, so a row's largest may be a little above 1.
LARGEST_WEIGHT = 1.05


def card_from_json(data: dict[str, Any]) -> ModelCard:
    """A model card with fields of the right kinds.

    Raises:
        ValueError, KeyError, TypeError: a field is missing or of another kind.
    """
    fields: dict[str, Any] = {name: text(data[name]) for name in _TEXTS}
    fields |= {name: tuple(map(count, data[name])) for name in _COUNTS}
    fields |= {name: None if data[name] is None else count(data[name]) for name in _NUMBERS}
    return ModelCard(
        **fields,
        encoder_decoder=bool(data["encoder_decoder"]),
        attention=tuple(map(text, data["attention"])),
        parameters=count(data["parameters"]),
    )


def text(value: object) -> str:
    """The value, which must be a string."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def count(value: object) -> int:
    """The value, which must be a whole number from 0."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise TypeError(f"{value!r} is no count")
    return value


def number(value: object) -> float | None:
    """The value, which must be a number or null."""
    if value is not None and (not isinstance(value, int | float) or not math.isfinite(value)):
        raise TypeError(f"{value!r} is no number")
    return value


def check(trace: Trace) -> None:
    """Make sure that what is drawn of a run means what the picture says.

    Raises:
        ValueError, IndexError, TypeError: there is no call, a rule cannot be asked, attention is no share, a head
            mask does not cover the heads, or a cross attention has nothing to cross to.
    """
    if not trace.calls and not trace.silent:
        raise ValueError("it has no attention call")
    for call in trace.calls:
        _ = call.mask.agrees, str(call.mask.rule)  # a damaged rule fails here and not in the middle of a picture
        count(call.mask.query_offset)
        if count(call.layer) >= 10_000 or call.heads < 1 or call.key_heads < 1:
            raise ValueError(f"layer {call.layer} with {call.heads} heads is no layer")
        if call.stack is Stack.CROSS and trace.batch.decoder is None:
            raise ValueError("it has cross attention and no decoder")
        if call.pattern is not None and not are_weights(call.pattern):
            raise ValueError(f"the attention of {call.stack} layer {call.layer} is not between 0 and 1")
        if trace.head_mask is not None:
            gates = trace.head_mask.of(call.stack, call.layer)
            if gates is not None and len(gates) < call.heads:
                raise ValueError("its head mask does not cover its heads")


def are_weights(pattern: FloatArray) -> bool:
    """Whether every weight that is a number is a share of 1."""
    numbers = pattern[~np.isnan(pattern)]
    return not numbers.size or bool(numbers.min() >= 0 and numbers.max() <= LARGEST_WEIGHT)
