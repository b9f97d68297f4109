"""What makes a model see its next token: changes that are tried, one at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from transformers import PreTrainedModel

from maskviz.core.behaviour import Tried
from maskviz.core.errors import CannotTraceError
from maskviz.core.trace import Trace
from maskviz.tracing.calling import Inputs
from maskviz.tracing.prove import moved_by_last_token
from maskviz.tracing.seam.implementation import running


def leak_tried(model: PreTrainedModel, inputs: Inputs, trace: Trace, implementation: str) -> tuple[Tried, ...]:
    """Change what may make a model see its next token, one thing at a time, and ask again how far it does.

    A mask of four axes is turned round, where it may be upside down, and joined with the triangle; without one, the
    config's `is_decoder` is set, and eager attention is run.

    Returns:
        The changes that the model could be run with, the smallest first.
    """
    tried: list[Tried] = []
    mask = inputs.get("attention_mask")
    if isinstance(mask, torch.Tensor) and mask.ndim == 4:
        for change, other in _other_masks(mask):
            _try(tried, change, partial(_leak, model, {**inputs, "attention_mask": other}, trace))
        return tuple(tried)
    if getattr(model.config, "is_decoder", None) is False:
        with _set(model.config, "is_decoder", True):
            _try(tried, "is_decoder=True in the config", partial(_leak, model, inputs, trace))
    if implementation != "eager":
        with running(model, "eager"):
            _try(tried, "attn_implementation='eager'", partial(_leak, model, inputs, trace))
    return tuple(tried)


def _leak(model: PreTrainedModel, inputs: Inputs, trace: Trace) -> float | None:
    moved = moved_by_last_token(model, inputs, trace)
    return None if moved is None else moved[0]


def _try(tried: list[Tried], change: str, ask: Callable[[], float | None]) -> None:
    """Ask with a change, where the model can be run so."""
    try:
        left = ask()
    except CannotTraceError:
        return
    if left is not None:
        tried.append(Tried(change, left))


def _other_masks(mask: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
    """A mask the other way round, where that shows every query its own key and no later one; and joined with the
    triangle that ends at the last key."""
    queries, keys = mask.shape[-2:]
    rows = keys if queries == 1 else queries
    causal = torch.ones(rows, keys, dtype=torch.bool, device=mask.device).tril(keys - rows)
    own = causal & ~causal.tril(keys - rows - 1)
    if mask.dtype == torch.bool and not (~mask & ~causal).any() and not (mask & own).any():
        yield "~mask", ~mask
    yield "mask & causal", hidden_where(mask.expand(*mask.shape[:2], rows, keys), ~causal)


def hidden_where(mask: torch.Tensor, blocked: torch.Tensor) -> torch.Tensor:
    """A mask [batch or 1, head or 1, query, key] that also blocks the cells that are True in `blocked`."""
    if mask.is_floating_point():
        return mask.masked_fill(blocked, torch.finfo(mask.dtype).min)
    return torch.where(blocked, torch.zeros((), dtype=mask.dtype, device=mask.device), mask)


@contextmanager
def _set(config: Any, name: str, value: object) -> Iterator[None]:
    before = getattr(config, name)
    try:
        setattr(config, name, value)
        yield
    finally:
        setattr(config, name, before)
