"""What makes a model see its next token: changes that are tried, one at a time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import partial

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.core.arrays import IntArray
from maskviz.core.checks.behaviour import Tried
from maskviz.core.errors import CannotTraceError
from maskviz.core.run.trace import Trace
from maskviz.tracing.calling import Inputs, explained, same_randomness
from maskviz.tracing.experiments.passes import counted_as
from maskviz.tracing.experiments.prove import last_tokens, moved_by_token
from maskviz.tracing.meaning.evidence import MOST_COPIED
from maskviz.tracing.seam.running import running


def leak(model: PreTrainedModel, inputs: Inputs, trace: Trace) -> float | None:
    """Change a token of each text that an earlier query may see, the last one where the masks show none.

    Returns:
        Largest change of an output before that token; None where there are no ids, or no output for each token.

    Raises:
        CannotTraceError: the model fails on the changed text.
    """
    moved = moved_by_token(model, inputs, trace, _seen_ahead(trace))
    return None if moved is None else moved[0]


def _seen_ahead(trace: Trace) -> IntArray:
    """int64 [batch], the last key of each text that a real query before it may see; its last real token where no mask
    shows such a key."""
    side = trace.batch.decoder or trace.batch
    places = last_tokens(side)
    for row in range(side.rows):
        ahead = np.zeros(side.length, np.bool_)
        for call in trace.calls:
            if all(one is side for one in trace.sides(call)) and call.mask.visible.shape[2:] == (
                side.length,
                side.length,
            ):
                seen = np.triu(call.mask.visible[row].any(axis=0), k=1)
                ahead |= seen[side.keep[row]].any(axis=0) & side.keep[row]
        if ahead.any():
            places[row] = np.flatnonzero(ahead)[-1]
    return places


def leak_tried(model: PreTrainedModel, inputs: Inputs, trace: Trace, implementation: str) -> tuple[Tried, ...]:
    """Change what may make a model see its next token, one thing at a time, and ask again how far it does.

    A mask of four axes is turned round, where it may be upside down, and joined with the triangle; without one, the
    config's `is_decoder` is set, no cache is kept, and eager attention is run.

    Returns:
        The changes that the model could be run with, the smallest first.
    """
    tried: list[Tried] = []
    mask = inputs.get("attention_mask")
    if isinstance(mask, torch.Tensor) and mask.ndim == 4:
        for change, other in _other_masks(mask):
            _try(tried, change, partial(leak, model, {**inputs, "attention_mask": other}, trace))
        return tuple(tried)
    if getattr(model.config, "is_decoder", None) is False and model.num_parameters() <= MOST_COPIED:
        _try(tried, "is_decoder=True in the config", lambda: leak(_as_decoder(model, trace), inputs, trace))
    parameters = inspect.signature(model.forward).parameters
    ids = inputs.get(model.main_input_name)
    if "token_type_ids" in parameters and "token_type_ids" not in inputs and isinstance(ids, torch.Tensor):
        types = {**inputs, "token_type_ids": torch.zeros_like(ids)}
        _try(tried, "token_type_ids, all 0", partial(leak, model, types, trace))
    takes_cache = "use_cache" in parameters
    if takes_cache and inputs.get("use_cache") is not False and inputs.get("past_key_values") is None:
        _try(tried, "use_cache=False", partial(leak, model, {**inputs, "use_cache": False}, trace))
    if implementation != "eager":
        with running(model, "eager"):
            _try(tried, "attn_implementation='eager'", partial(leak, model, inputs, trace))
    return tuple(tried)


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
    if queries == keys and _is_causal(mask.mT, causal, own):
        yield "mask.mT", mask.mT.contiguous()
    if mask.dtype == torch.bool and not (~mask & ~causal).any() and not (mask & own).any():
        yield "~mask", ~mask
    yield "mask & causal", hidden_where(mask.expand(*mask.shape[:2], rows, keys), ~causal)


def _is_causal(mask: torch.Tensor, causal: torch.Tensor, own: torch.Tensor) -> bool:
    """Whether a mask shows every query its own key and no later one."""
    shown = mask if mask.dtype == torch.bool else mask > -1
    return not bool((shown & ~causal).any()) and bool((shown | ~own).all())


def hidden_where(mask: torch.Tensor, blocked: torch.Tensor) -> torch.Tensor:
    """A mask [batch or 1, head or 1, query, key] that also blocks the cells that are True in `blocked`."""
    if mask.is_floating_point():
        return mask.masked_fill(blocked, torch.finfo(mask.dtype).min)
    return torch.where(blocked, torch.zeros((), dtype=mask.dtype, device=mask.device), mask)


def _as_decoder(model: PreTrainedModel, trace: Trace) -> PreTrainedModel:
    """The same class and weights, built as a decoder: layers look at the config when they are built.

    Raises:
        CannotTraceError: the class cannot be built so.
    """
    config = deepcopy(model.config)
    config.is_decoder = True
    with same_randomness(), explained(trace.card, "is not built as a decoder"):
        other: PreTrainedModel = type(model)(config)
    other.load_state_dict(model.state_dict(), strict=False)
    counted_as(model, other)
    torch.nn.Module.to(other, device=model.device, dtype=model.dtype)
    return other
