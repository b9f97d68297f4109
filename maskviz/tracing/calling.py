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
from maskviz.core.words import CacheKind
from maskviz.tracing.seam.caches import cache_argument, cache_returned, copied, static_cache

Inputs = Mapping[str, Any]

# Arguments that run along the tokens of a part, and those that run along every token seen so far.
_OF_PART = ("input_ids", "position_ids", "token_type_ids")
_SO_FAR = ("attention_mask",)


@dataclass(frozen=True, slots=True)
class Calling:
    """How a text is fed to a model.

    Attributes:
        parts: Tokens of each part, in order; empty for one plain call without them.
        shown: The first part whose attention is shown.
        cache: The kind of cache between the parts.
    """

    parts: tuple[int, ...] = ()
    shown: int = 0
    cache: CacheKind = CacheKind.DYNAMIC

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens seen after each part."""
        return tuple(accumulate(self.parts))

    @property
    def offset(self) -> int:
        """Tokens in the cache before the first part that is shown."""
        return sum(self.parts[: self.shown])


def called(model: PreTrainedModel, inputs: Inputs, calling: Calling) -> tuple[Any, ...]:
    """Call a model; return what it returned for each part that is shown.

    Raises:
        CannotTraceError: parts are asked for, and the model keeps no key-value cache.
    """
    # Copies: a model writes into a cache, and XGLM's code in transformers 5.0 into the position ids it is given.
    inputs = {name: copied(one) for name, one in inputs.items()}
    if not calling.parts:
        return (model(**inputs),)
    returned: list[Any] = []
    state: dict[str, Any] = {"use_cache": True}
    if calling.cache is CacheKind.STATIC:
        state[cache_argument(model)] = _static_cache(model, calling)
    counted = "cache_position" in inspect.signature(model.forward).parameters
    for end, length in zip(calling.ends, calling.parts, strict=True):
        if counted:  # older releases would count a static cache's keys, and take those that are zero for none
            state["cache_position"] = torch.arange(end - length, end, device=model.device)
        output = model(**_part(inputs, end - length, end), **state)
        returned.append(output)
        state |= _carried(model, output)
        if "encoder_outputs" in state:  # the encoder has read its text; the decoder goes on alone
            inputs = {name: tensor for name, tensor in inputs.items() if name != "input_ids"}
    return tuple(returned[calling.shown :])


def _part(inputs: Inputs, start: int, end: int) -> dict[str, Any]:
    prefix = "decoder_" if "decoder_input_ids" in inputs else ""
    part = dict(inputs)
    for name in _OF_PART:
        if prefix + name in part:
            part[prefix + name] = part[prefix + name][:, start:end]
    for name in _SO_FAR:
        if prefix + name in part:
            part[prefix + name] = part[prefix + name][:, :end]
    return part


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
            f"{type(model).__name__} takes no static cache: {said}", "try --cache dynamic"
        ) from error
