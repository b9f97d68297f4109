"""Names that Keras keeps to itself: where its layers attend, which layers they hold, what a call changes.

Keras is never imported here: whoever has a layer of it has imported it.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import torch

from maskviz.core.arrays import AnyArray
from maskviz.tracing.seam.replacing import Canary, has, replaced

# The layers that attend, by their public names, with the method in which scores become weights and meet the values.
# Nearest to its subclasses last: AdditiveAttention attends in a method that it has of Attention.
_ATTENDING = {
    "MultiHeadAttention": "_compute_attention",
    "GroupQueryAttention": "_compute_attention",
    "Attention": "_apply_scores",
}
_CHILDREN, _TRAINABLE, _LOSSES = "_layers", "_trainable_variables", "_losses"
_FLASH, _WANTED, _WINDOW = "_flash_attention", "_return_attention_scores", "_sliding_window"
_GLOBAL_SEED = "global_seed_generator"


def is_flash(layer: Any) -> bool:
    """Whether a layer is set to a kernel that is only on some devices."""
    return bool(getattr(layer, _FLASH, False))


def imported_keras() -> Any | None:
    """Keras, where somebody has imported it and it is whole."""
    found = sys.modules.get("keras")
    return found if found is not None and has(found, "layers", "__version__") else None


def kinds_of_attention() -> dict[str, type]:
    """The classes of Keras that attend, by their public names."""
    layers = sys.modules["keras"].layers
    return {name: getattr(layers, name) for name in _ATTENDING if hasattr(layers, name)}


Wrapping = Callable[[str, Callable[..., Any], bool], Callable[..., Any]]


@contextmanager
def attention_replaced(calling: Wrapping, attending: Wrapping) -> Iterator[None]:
    """Put other functions in the place of `call`, and of where weights meet values, in all layers that attend.

    Args:
        calling: Makes the new `call` of a kind of attention, its present `call`, and whether it is Keras' own.
        attending: The same for where weights meet the values.
    """
    with ExitStack() as block:
        for kind, base in kinds_of_attention().items():
            for owner in _with_subclasses(base):
                wrappings = (("call", calling), (_ATTENDING[kind], attending))
                new = {
                    name: wrapping(kind, vars(owner)[name], owner is base)
                    for name, wrapping in wrappings
                    if name in vars(owner)
                }
                block.enter_context(replaced(_Attributes(owner), new))
        yield


@contextmanager
def calls_replaced(entering: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    """Put another function in the place of what runs when any layer of Keras is called."""
    layer = sys.modules["keras"].layers.Layer
    with replaced(_Attributes(layer), {"__call__": entering(vars(layer)["__call__"])}):
        yield


def _with_subclasses(base: type) -> list[type]:
    """A class and all that are derived from it, each once."""
    found: list[type] = [base]
    for one in found:
        derived: list[type] = type.__subclasses__(one)
        found += [more for more in derived if more not in found]
    return found


class _Attributes(MutableMapping[str, Any]):
    """The attributes of a class as a mapping that can be written."""

    def __init__(self, owner: type) -> None:
        self._owner = owner

    def __getitem__(self, name: str) -> Any:
        return vars(self._owner)[name]

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self._owner, name, value)

    def __delitem__(self, name: str) -> None:
        delattr(self._owner, name)

    def __iter__(self) -> Iterator[str]:
        return iter(vars(self._owner))

    def __len__(self) -> int:
        return len(vars(self._owner))


def asked_for_scores(layer: Any) -> AbstractContextManager[None]:
    """A block in which a layer works out its weights; some releases take an argument for it and no attribute."""
    return _noted(layer, {_FLASH: False, _WANTED: True})


def without_flash(layer: Any) -> AbstractContextManager[None]:
    """A block in which a layer that insists on flash attention, which not every machine has, leaves it to Keras."""
    return _noted(layer, {_FLASH: None}) if getattr(layer, _FLASH, None) else nullcontext()


@contextmanager
def _noted(layer: Any, values: dict[str, Any]) -> Iterator[None]:
    before = {name: getattr(layer, name) for name in values if hasattr(layer, name)}
    try:
        for name in before:
            setattr(layer, name, values[name])
        yield
    finally:
        for name, value in before.items():
            setattr(layer, name, value)


def has_window(layer: Any) -> bool:
    """Whether a layer lets its queries see their neighbours alone."""
    return getattr(layer, _WINDOW, getattr(layer, _WINDOW.lstrip("_"), None)) is not None


def children(layer: Any) -> list[Any]:
    """The layers that a layer keeps: in its attributes, and in their lists, tuples and dictionaries."""
    return list(getattr(layer, _CHILDREN))


def is_symbolic() -> bool:
    """Whether Keras works out shapes now, with tensors that hold no numbers."""
    return bool(_part("backend.common.symbolic_scope").in_symbolic_scope())


def as_array(tensor: Any) -> AnyArray:
    """A tensor or variable of Keras as an array of its own memory, 16-bit floats of torch widened.

    Keras' own way asks numpy to copy tensors of torch and tensorflow, which do not know how and warn.
    """
    keras = sys.modules["keras"]
    value = tensor.value if isinstance(tensor, keras.Variable) else tensor
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return np.array((value.float() if value.dtype is torch.bfloat16 else value).numpy())
    return np.array(value.numpy() if hasattr(value, "numpy") else keras.ops.convert_to_numpy(value))


def attached_mask(tensor: Any) -> Any:
    """The mask that Keras has tied to a tensor, or None."""
    return _part("backend").get_keras_mask(tensor)


def attach_mask(tensor: Any, mask: Any) -> None:
    """Tie a mask to a tensor; None takes it away."""
    _part("backend").set_keras_mask(tensor, mask)


@dataclass(frozen=True, slots=True, eq=False)
class KerasState:
    """What calling a model may change that is no weight: counters, moving averages, seeds, losses.

    Attributes:
        variables: Each variable that is no weight to be trained, with its numbers.
        losses: Each layer with the losses it had noted.
        seeds: The generator that layers without one of their own draw from, None before it is first asked.
    """

    variables: tuple[tuple[Any, Any], ...]
    losses: tuple[tuple[Any, list[Any]], ...]
    seeds: Any

    @classmethod
    def of(cls, model: Any) -> KerasState:
        """What a model, and Keras' own generator of seeds, hold now."""
        layers = all_layers(model)
        weights = {id(one) for layer in layers for one in getattr(layer, _TRAINABLE)}
        variables = [one for one in model.variables if id(one) not in weights]
        seeds = _global_state().get_global_attribute(_GLOBAL_SEED)
        variables += [] if seeds is None else [seeds.state]
        return cls(
            tuple((one, as_array(one)) for one in variables),
            tuple((layer, list(getattr(layer, _LOSSES))) for layer in layers),
            seeds,
        )

    def restore(self) -> None:
        """Put it back."""
        for variable, before in self.variables:
            if as_array(variable).tobytes() != before.tobytes():
                variable.assign(before)
        for layer, losses in self.losses:
            getattr(layer, _LOSSES)[:] = losses
        _global_state().set_global_attribute(_GLOBAL_SEED, self.seeds)


def all_layers(model: Any) -> list[Any]:
    """A model and every layer in it, each once."""
    found, seen = [model], {id(model)}
    for layer in found:
        new = [one for one in children(layer) if id(one) not in seen]
        seen |= {id(one) for one in new}
        found += new
    return found


def _part(path: str) -> Any:
    """A module of Keras that is not promised to stay."""
    return import_module(f"keras.src.{path}")


def _global_state() -> Any:
    return _part("backend.common.global_state")


def _attends_where_it_did() -> bool:
    if imported_keras() is None:
        return True
    expected = {"_compute_attention": {"query", "key", "value", "attention_mask"}, "_apply_scores": {"scores", "value"}}
    kinds = kinds_of_attention()
    methods = {name: inspect.signature(getattr(kinds[name], _ATTENDING[name])).parameters for name in kinds}
    return bool(kinds) and all(expected[_ATTENDING[name]] <= set(found) for name, found in methods.items())


def _holds_what_it_did() -> bool:
    keras = imported_keras()
    if keras is None:
        return True
    layer = keras.layers.Identity()
    kept = has(layer, _CHILDREN, _TRAINABLE, _LOSSES, "variables")
    return kept and not is_symbolic() and has(_global_state(), "get_global_attribute", "set_global_attribute")


ATTENTION = Canary("where the layers of Keras turn scores into weights", "keras", _attends_where_it_did)
LAYERS = Canary("which layers and variables a layer of Keras holds", "keras", _holds_what_it_did)
CANARIES = (ATTENTION, LAYERS)
