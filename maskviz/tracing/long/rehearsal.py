"""A short run before a long one: which call is whose, and by which way each can be added up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from maskviz.core.run.trace import AttentionCall, Batch, Trace
from maskviz.core.words import Role, Stack
from maskviz.tracing.long.tally import Sides
from maskviz.tracing.meaning.evidence import Earlier
from maskviz.tracing.meaning.hearing import StackLayer, places_of

# Tokens of a rehearsal: few enough to cost nothing, more than a block of most layouts.
LENGTH = 48


def shortened(inputs: Mapping[str, Any], batch: Batch) -> tuple[dict[str, Any], Batch]:
    """The first tokens of every row, or the last where rows are padded on the left, and the inputs cut alike."""
    decoder = batch.decoder
    cut: dict[str, Any] = {}
    for name, value in inputs.items():
        side = decoder if name.startswith("decoder_") and decoder is not None else batch
        along = isinstance(value, torch.Tensor) and value.ndim == 2 and value.shape[1] == side.length
        cut[name] = value[:, _columns(side)] if along else value
    return cut, _cut(batch)


def _columns(side: Batch) -> slice:
    if side.length <= LENGTH:
        return slice(0, side.length)
    return slice(0, LENGTH) if side.keep[:, 0].all() else slice(side.length - LENGTH, side.length)


def _cut(side: Batch) -> Batch:
    columns = _columns(side)
    arrays = {
        name: None if value is None else value[:, columns]
        for name, value in (
            ("token_types", side.token_types),
            ("position_ids", side.position_ids),
            ("documents", side.documents),
        )
    }
    return Batch(
        ids=side.ids[:, columns],
        keep=side.keep[:, columns],
        tokens=tuple(row[columns] for row in side.tokens),
        roles=tuple(row[columns] for row in side.roles),
        texts=side.texts,
        decoder=None if side.decoder is None else _cut(side.decoder),
        **arrays,
    )


@dataclass(frozen=True, slots=True)
class RehearsedPart:
    """Which attention of the model a call is."""

    stack: Stack
    layer: int
    heads: int
    key_heads: int


@dataclass(frozen=True, slots=True, eq=False)
class Rehearsed:
    """A model that can be streamed.

    Attributes:
        parts: Which attention is at each place.
        whole_masks: Whether its masks have to be built.
        whole_layers: Whether a layer's attention is made whole by the model itself.
        biased: Whether it makes a number for each head, query and key besides, such as relative positions.
        short: The trace of the rehearsal.
    """

    parts: Mapping[StackLayer, RehearsedPart]
    whole_masks: bool
    whole_layers: bool
    biased: bool
    short: Trace


def parts_of(trace: Trace) -> dict[StackLayer, RehearsedPart] | None:
    """Which attention each place is; None where a place holds two of them, or a call sees other keys than tokens."""
    parts: dict[StackLayer, RehearsedPart] = {}
    for place, calls in places_of(trace):
        if len(calls) != 1 or not _over_tokens(trace, calls[0]):
            return None
        parts[place] = RehearsedPart(calls[0].stack, calls[0].layer, calls[0].heads, calls[0].key_heads)
    return parts


def _over_tokens(trace: Trace, call: AttentionCall) -> bool:
    queries, keys = (side.length for side in trace.sides(call))
    return call.mask.visible.shape[2:] == (queries, keys) and call.pattern is not None


def sides_of(parts: Mapping[StackLayer, RehearsedPart], batch: Batch, device: torch.device) -> dict[StackLayer, Sides]:
    """The axes of the call at each place; calls of one stack share them."""
    made = {stack: _sides(stack, batch, device) for stack in {part.stack for part in parts.values()}}
    return {place: made[part.stack] for place, part in parts.items()}


def _sides(stack: Stack, batch: Batch, device: torch.device) -> Sides:
    decoder = batch.decoder
    queries = batch if stack is Stack.ENCODER or decoder is None else decoder
    keys = batch if stack is Stack.CROSS or decoder is None else queries
    own = stack is not Stack.CROSS
    special = [np.array([role is Role.SPECIAL for role in row]) & kept for row, kept in _rows(keys)]
    return Sides(
        queries=queries.length,
        keys=keys.length,
        meant=queries.keep,
        first=tuple(np.flatnonzero(kept)[:1] for kept in keys.keep),
        special=tuple(np.flatnonzero(row) for row in special),
        padding=tuple(np.flatnonzero(~kept) for kept in keys.keep),
        own=own,
        earlier=tuple(Earlier(ids, kept, device) for ids, kept in zip(keys.ids, keys.keep, strict=True)) if own else (),
    )


def _rows(side: Batch) -> Iterator[tuple[tuple[Role, ...], Any]]:
    return zip(side.roles, side.keep, strict=True)
