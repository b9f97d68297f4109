"""Where modelling files keep their eager attention, and where they look another one up."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from maskviz.tracing.seam.canary import Canary, MovedError
from maskviz.tracing.seam.replacing import replaced

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


CANARIES = (
    Canary(_NAME, "transformers", _is_there),
    Canary("the registry of attention functions", "transformers", _registers),
)
