"""Key-value caches: what a model calls its own, how many tokens one holds, and copies that share no memory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any

import torch
from transformers import Cache, DynamicCache, EncoderDecoderCache, PreTrainedModel, StaticCache

from maskviz.tracing.seam.canary import Canary

# What a forward calls its cache, and what it returns one as: the first since transformers 5.24.
_NAMES = ("cache", "past_key_values")


def cache_argument(model: PreTrainedModel) -> str:
    """What a model's forward calls its key-value cache."""
    taken = inspect.signature(model.forward).parameters
    return next((name for name in _NAMES if name in taken), _NAMES[-1])


def cache_of(given: Mapping[str, Any]) -> Any:
    """The key-value cache among the arguments of a forward, or None."""
    return next((given[name] for name in _NAMES if given.get(name) is not None), None)


def cache_returned(output: Any) -> Any:
    """The key-value cache in what a model returned, or None."""
    named = output if isinstance(output, Mapping) else vars(output) if hasattr(output, "__dict__") else {}
    return cache_of(named)


def tokens_in(cache: Any) -> int:
    """How many tokens of a text a key-value cache has seen, those that a window has dropped counted too.

    Args:
        cache: One of transformers, or for each layer its keys [batch, head, key, width] and values.
    """
    if hasattr(cache, "get_seq_length"):
        held = getattr(cache, "self_attention_cache", cache)
        layers = getattr(held, "layers", None)
        if not layers:
            return int(held.get_seq_length())
        return max(int(layer.get_seq_length()) for layer in layers if hasattr(layer, "get_seq_length"))
    first = next((one for one in tensors_in(cache) if one.ndim == 4), None)
    return 0 if first is None else int(first.shape[-2])


def static_cache(model: PreTrainedModel, tokens: int) -> Cache:
    """A cache of a fixed size for a model; raises what the library says about the config."""
    cache = StaticCache(config=model.config.get_text_config(decoder=True), max_cache_len=tokens)
    return EncoderDecoderCache(cache, DynamicCache()) if model.config.is_encoder_decoder else cache


def copied(value: Any) -> Any:
    """A copy of an argument of a forward, every tensor in it included: a model writes into its caches."""
    return value.clone() if isinstance(value, torch.Tensor) else mapped(value, lambda one: one.clone())


def mapped(value: Any, change: Callable[[torch.Tensor], torch.Tensor]) -> Any:
    """A copy of an argument of a forward with something else in place of every tensor in it."""
    if isinstance(value, torch.Tensor):
        return change(value)
    # Tensors with gradients refuse to be copied by deepcopy; no gradient is asked for here.
    return deepcopy(value, {id(one): change(one.detach()) for one in tensors_in(value)})


def tensors_in(value: Any, seen: set[int] | None = None) -> Iterator[torch.Tensor]:
    """Every tensor in nested values and objects, each object once."""
    seen = set() if seen is None else seen
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, torch.Tensor):
        yield value
        return
    if isinstance(value, torch.nn.Module | type):
        return
    inner = list(value.values()) if isinstance(value, Mapping) else []
    inner += list(value) if isinstance(value, list | tuple | set) else []
    inner += list(vars(value).values()) if hasattr(value, "__dict__") else []
    for one in inner:
        yield from tensors_in(one, seen)


def _keeps() -> bool:
    cache = DynamicCache()
    cache.update(torch.zeros(1, 1, 3, 2), torch.zeros(1, 1, 3, 2), 0)
    copy = copied(cache)
    copy.update(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2), 0)
    return tokens_in(cache) == 3 and tokens_in(copy) == 5


def _is_named() -> bool:
    from transformers import LlamaForCausalLM

    return any(name in inspect.signature(LlamaForCausalLM.forward).parameters for name in _NAMES)


CANARIES = (
    Canary("how a cache counts its tokens", "transformers", _keeps),
    Canary("what a forward calls its cache", "transformers", _is_named),
)
