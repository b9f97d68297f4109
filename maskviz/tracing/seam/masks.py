"""Where transformers makes masks and asks for attention: replaced while a model runs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import torch
from transformers import masking_utils
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from maskviz.tracing.seam.replacing import Canary, MovedError, replaced
from maskviz.tracing.seam.running import configs_of, parts_of

# What every file calls the eager attention of its own, and the registry it asks for all others.
EAGER, _REGISTRY = "eager_attention_forward", "ALL_ATTENTION_FUNCTIONS"
_NAME = "eager attention"


def names_seen_by(module: torch.nn.Module) -> dict[str, Any]:
    """The globals of a module's forward: of the file it is written in, also where a subclass inherits it."""
    names: dict[str, Any] = getattr(inspect.unwrap(type(module).forward), "__globals__", {})
    return names


def uses_interface(module: torch.nn.Module) -> bool:
    """Whether the file a module's forward is written in calls transformers' attention interface."""
    return _REGISTRY in names_seen_by(module)


@contextmanager
def eager_attention_replaced(
    model: torch.nn.Module, listener: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Put a listener in the place of the eager attention of every file the model's modules are written in.

    Args:
        model: The model.
        listener: From the original to what is called instead.

    Raises:
        MovedError: its files call the attention interface, and none has an eager attention: they would be heard by
            their softmax alone.
    """
    with_interface = [names for names in _files(model) if _REGISTRY in names]
    with_eager = [names for names in _files(model) if EAGER in names]
    if with_interface and not with_eager:
        raise MovedError(_NAME)
    with ExitStack() as block:
        for names in with_eager:
            block.enter_context(replaced(names, {EAGER: listener(names[EAGER])}))
        yield


@contextmanager
def attention_replaced(
    model: torch.nn.Module, name: str, listener: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Put a listener in the place of a registered attention function, wherever the model's modules look it up.

    Args:
        model: The model.
        name: Of the implementation, such as "sdpa".
        listener: From the original to what is called instead.
    """
    registries = {id(names[_REGISTRY]): names[_REGISTRY] for names in _files(model) if _REGISTRY in names}
    with ExitStack() as block:
        for registry in registries.values():
            block.enter_context(replaced(entries_of(registry), {name: listener(registry[name])}))
        yield


def entries_of(registry: Any) -> dict[str, Any]:
    """The entries of one of transformers' registries that go before those of its class.

    Raises:
        MovedError: it keeps them elsewhere.
    """
    entries = getattr(registry, "_local_mapping", None)
    if not isinstance(entries, dict):
        raise MovedError("the registry of attention functions")
    return entries


def _files(model: torch.nn.Module) -> list[dict[str, Any]]:
    files = {id(names): names for names in map(names_seen_by, model.modules())}
    return list(files.values())


def _is_there() -> bool:
    from transformers.models.llama import modeling_llama

    names = vars(modeling_llama)
    attention = modeling_llama.LlamaAttention.forward
    return EAGER in names and _REGISTRY in names and inspect.unwrap(attention).__globals__ is names


def _registers() -> bool:
    from transformers.models.llama import modeling_llama

    registry = vars(modeling_llama)[_REGISTRY]
    return callable(registry["sdpa"]) and isinstance(registry._local_mapping, dict)


_OF_EAGER = (
    Canary(_NAME, "transformers", _is_there),
    Canary("the registry of attention functions", "transformers", _registers),
)


# A mask with its skips off is never None by optimisation: what is meant is what is seen.
_SKIPS_OFF = {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}

# From what builds a mask to what is called instead, with its arguments by name.
Listener = Callable[[Callable[..., Any]], Callable[..., Any]]


def mask_functions_replaced(
    model: torch.nn.Module, names: Sequence[str], listener: Listener
) -> AbstractContextManager[None]:
    """A block with a listener in the place of the functions that build a model's masks for these implementations.

    Args:
        model: The model; masks of others are built as ever.
        names: Such as "eager" or "sdpa".
        listener: From the original to what is called instead.
    """
    registry = ALL_MASK_ATTENTION_FUNCTIONS
    own = {id(part): part for config in configs_of(model) for part in parts_of(config)}

    def of_model(build: Callable[..., Any]) -> Callable[..., Any]:
        heard = listener(build)

        def mask(**arguments: Any) -> Any:
            config = arguments.get("config")
            return (heard if config is None or id(config) in own else build)(**arguments)

        return mask

    return replaced(entries_of(registry), {name: of_model(registry[name]) for name in names})


def without_skips(arguments: dict[str, Any]) -> dict[str, Any]:
    """What a mask function is called with, so that it builds every mask."""
    return {**arguments, **_SKIPS_OFF}


def offsets_of(arguments: dict[str, Any]) -> tuple[int, int]:
    """Positions of the first query and the first key, from what a mask function is called with."""
    # Releases of transformers before 5.3 pass the positions themselves instead of an offset.
    positions = arguments.get("cache_position")
    query = int(positions[0]) if positions is not None else int(arguments.get("q_offset", 0))
    return query, int(arguments.get("kv_offset", 0))


def lengths_of(arguments: dict[str, Any]) -> tuple[int, int]:
    """How many queries and keys a mask is for."""
    positions = arguments.get("cache_position")
    queries = int(arguments["q_length"]) if positions is None else len(positions)
    return queries, int(arguments["kv_length"])


def for_rows(arguments: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    """What a mask function is called with for some of its queries, from the first to the one behind the last."""
    positions = arguments.get("cache_position")
    if positions is not None:
        return {**arguments, "cache_position": positions[start:stop]}
    return {**arguments, "q_length": stop - start, "q_offset": offsets_of(arguments)[0] + start}


def _take_what_we_read() -> bool:
    taken = inspect.signature(masking_utils.eager_mask).parameters
    lengths = "cache_position" in taken or {"q_length", "q_offset"} <= taken.keys()
    passed = any(one.kind is one.VAR_KEYWORD for one in taken.values())
    skips = inspect.signature(masking_utils.sdpa_mask).parameters.keys() >= _SKIPS_OFF.keys()
    names = {"batch_size", "kv_length", "kv_offset", "mask_function", "attention_mask", "dtype"}
    return lengths and passed and skips and names <= taken.keys()


def _are_registered() -> bool:
    registry = ALL_MASK_ATTENTION_FUNCTIONS
    return all(callable(registry[name]) for name in ("eager", "sdpa")) and isinstance(entries_of(registry), dict)


_OF_MASKS = (
    Canary("the registry of mask functions", "transformers", _are_registered),
    Canary("what mask functions are called with", "transformers", _take_what_we_read),
)

CANARIES = (*_OF_EAGER, *_OF_MASKS)
