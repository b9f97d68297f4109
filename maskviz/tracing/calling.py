"""How a model is called: with the whole text at once, or part by part with a key-value cache."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import torch
from transformers import Cache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from maskviz.core.errors import CannotTraceError
from maskviz.core.parameters import parameter
from maskviz.core.words import CacheKind
from maskviz.tracing.seam.caches import cache_argument, cache_returned, copied, static_cache

Inputs = Mapping[str, Any]

# Arguments that run along the tokens of a part; a mask runs along every token seen so far.
_OF_PART = ("input_ids", "position_ids", "token_type_ids")


@dataclass(frozen=True, slots=True)
class Calling:
    """How a text is fed to a model.

    Attributes:
        parts: Tokens of each part, in order; empty for one plain call without them.
        shown: The first part whose attention is shown.
        cache: The kind of cache between the parts.
        filled: Whether the parts before the first that is shown are in a cache among the inputs already.
    """

    parts: tuple[int, ...] = ()
    shown: int = 0
    cache: CacheKind = CacheKind.DYNAMIC
    filled: bool = False

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens seen after each part."""
        return tuple(accumulate(self.parts))

    @property
    def offset(self) -> int:
        """Tokens in the cache before the first part that is shown."""
        return sum(self.parts[: self.shown])


@dataclass(frozen=True, slots=True, eq=False)
class MaskBehind:
    """A mask of the queries behind a cache alone.

    Attributes:
        mask: [batch or 1, head or 1, query, past + query], what they are called with.
        before: [batch, token], what the queries before them are called with, cut to their number.
    """

    mask: torch.Tensor
    before: torch.Tensor | None


def called(model: PreTrainedModel, inputs: Inputs, calling: Calling) -> tuple[Any, ...]:
    """Call a model; return what it returned for each part that is shown.

    Raises:
        CannotTraceError: parts are asked for, and the model keeps no key-value cache.
    """
    # Copies: a model writes into a cache, and XGLM's code in transformers 5.0 into the position ids it is given.
    inputs = {name: copied(one) for name, one in inputs.items()}
    if not calling.parts or calling.filled:
        return (model(**inputs),)
    returned: list[Any] = []
    state: dict[str, Any] = {"use_cache": True}
    if calling.cache is CacheKind.STATIC:
        state[cache_argument(model)] = _static_cache(model, calling)
    counted = "cache_position" in inspect.signature(model.forward).parameters
    for end, length in zip(calling.ends, calling.parts, strict=True):
        if counted:  # older releases would count a static cache's keys, and take those that are zero for none
            state["cache_position"] = torch.arange(end - length, end, device=model.device)
        output = model(**_part(inputs, calling, end - length, end), **state)
        returned.append(output)
        state |= _carried(model, output)
        if "encoder_outputs" in state:  # the encoder has read its text; the decoder goes on alone
            inputs = {name: tensor for name, tensor in inputs.items() if name != "input_ids"}
    return tuple(returned[calling.shown :])


def _part(inputs: Inputs, calling: Calling, start: int, end: int) -> dict[str, Any]:
    prefix = "decoder_" if "decoder_input_ids" in inputs else ""
    part = dict(inputs)
    for name in _OF_PART:
        if prefix + name in part:
            part[prefix + name] = part[prefix + name][:, start:end]
    name = f"{prefix}attention_mask"
    if name in part:
        # A static cache has its room for later keys from the start.
        keys = calling.ends[-1] if calling.cache is CacheKind.STATIC else end
        part[name] = _mask_of_part(part[name], start, end, keys)
    return {name: value for name, value in part.items() if value is not None}


def _mask_of_part(given: torch.Tensor | MaskBehind, start: int, end: int, keys: int) -> torch.Tensor | None:
    """The rows of a mask that a part's queries are called with, and as many of its keys where it has rows."""
    if isinstance(given, MaskBehind):
        first = given.mask.shape[3] - given.mask.shape[2]  # tokens before its first query
        if start < first:
            return None if given.before is None else given.before[:, :end]
        return given.mask[:, :, start - first : end - first, :keys]
    if given.ndim == 4:
        return (given if given.shape[2] == 1 else given[:, :, start:end])[..., :keys]
    return given[:, :end]


def _carried(model: PreTrainedModel, output: Any) -> dict[str, Any]:
    """What one part leaves to the next."""
    cache = cache_returned(output)
    if cache is None:
        raise CannotTraceError(
            f"{type(model).__name__} returns no key-value cache", "without one there are no decode steps to show"
        )
    carried: dict[str, Any] = {cache_argument(model): cache}
    hidden = getattr(output, "encoder_last_hidden_state", None)
    if hidden is not None:
        carried["encoder_outputs"] = BaseModelOutput(last_hidden_state=hidden)
    return carried


def _static_cache(model: PreTrainedModel, calling: Calling) -> Cache:
    try:
        return static_cache(model, calling.ends[-1])
    except Exception as error:  # whatever the library says about the config
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise CannotTraceError(
            f"{type(model).__name__} takes no static cache: {said}", f"try {parameter('cache', 'dynamic')}"
        ) from error
