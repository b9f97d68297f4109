"""The arguments of a module's forward as somebody gave them: held against its signature, and moved nowhere unasked."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from maskviz.core.arrays import IntArray
from maskviz.core.errors import UsageError
from maskviz.core.writing import nearest, printable


@dataclass(frozen=True, slots=True, eq=False)
class ModuleInputs:
    """What a forward is called with.

    Attributes:
        positional: By position.
        named: By name.
    """

    positional: tuple[Any, ...] = ()
    named: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tensors(self) -> tuple[torch.Tensor, ...]:
        """Every tensor, in order; those of a mapping among them too."""
        found: list[torch.Tensor] = []
        for one in (*self.positional, *self.named.values()):
            found += _tensors(one)
        return tuple(found)

    @property
    def leading(self) -> int | None:
        """The first axis of the first tensor that has several axes; None where there is none."""
        return next((int(one.shape[0]) for one in self.tensors if one.ndim > 1 and not one.is_nested), None)

    @property
    def ids(self) -> tuple[IntArray, ...]:
        """Integer inputs of two axes, as they are and, behind them, with the axes swapped."""
        found = [one for one in self.tensors if not one.is_nested and one.ndim == 2 and _is_whole(one)]
        arrays = [np.asarray(one.detach().cpu().numpy(), np.int64) for one in found]
        return (*arrays, *(one.T for one in arrays))


def module_inputs(module: torch.nn.Module, given: Any, *, moved: bool = False) -> ModuleInputs:
    """What a module is called with.

    Args:
        module: The module.
        given: Arguments by name; or a tensor, an array, or a tuple or list of them, by position. Arrays and lists of
            numbers become tensors of the module's device and, where they are no whole numbers, of its type.
        moved: Whether tensors, too, are brought there: those of a file lie nowhere yet.

    Raises:
        UsageError: the forward takes no such argument or lacks one, or a tensor lies on another device than the module.
    """
    like = next(module.parameters(), torch.zeros(()))
    signature = inspect.signature(module.forward)
    if isinstance(given, Mapping):
        named = {str(name): _input(str(name), one, like, moved) for name, one in given.items()}
        inputs = ModuleInputs(named=named)
        if not _binds(signature, inputs) and _takes_one(signature, named):
            return ModuleInputs((named,))
    elif isinstance(given, tuple) or _holds_arrays(given):
        inputs = ModuleInputs(tuple(_input(str(place), one, like, moved) for place, one in enumerate(given)))
    else:
        inputs = ModuleInputs((_input("0", given, like, moved),))
    _check_binds(module, signature, inputs)
    return inputs


def _holds_arrays(given: Any) -> bool:
    return isinstance(given, list) and any(isinstance(one, torch.Tensor | np.ndarray) for one in given)


def _binds(signature: inspect.Signature, inputs: ModuleInputs) -> bool:
    try:
        signature.bind(*inputs.positional, **inputs.named)
    except TypeError:
        return False
    return True


def _takes_one(signature: inspect.Signature, named: Mapping[str, Any]) -> bool:
    """Whether a forward needs one argument alone, which may be all of them as one mapping (sentence-transformers)."""
    needed = [
        one
        for one in signature.parameters.values()
        if one.default is one.empty and one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
    ]
    return len(needed) == 1 and needed[0].name not in named and len(named) > 1


def _check_binds(module: torch.nn.Module, signature: inspect.Signature, inputs: ModuleInputs) -> None:
    """Refuse inputs that the forward does not take, in its own words made ours."""
    try:
        signature.bind(*inputs.positional, **inputs.named)
    except TypeError as error:
        what = type(module).__name__
        takes = [name for name in signature.parameters if name not in ("args", "kwargs")]
        unknown = next((name for name in inputs.named if name not in takes), None)
        hint = f"it takes {', '.join(takes) or 'none'}"
        if unknown is not None:
            near = nearest(unknown, takes)
            raise UsageError(f"the forward of {what} takes no {printable(unknown)!r}", near or hint) from error
        raise UsageError(f"the forward of {what}: {error}", hint) from error


def _input(name: str, value: Any, like: torch.Tensor, moved: bool) -> Any:
    """One argument: numbers as a tensor of the module's device; anything else as it is."""
    if isinstance(value, torch.Tensor):
        if moved:
            return _like(value, like)
        if value.device.type != like.device.type:
            raise UsageError(
                f"{_called(name)} is on {value.device}, the module on {like.device}", "move one of them with .to()"
            )
        return value
    if isinstance(value, np.ndarray) or _is_numbers(value):
        try:
            return _like(torch.as_tensor(np.asarray(value)), like)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{_called(name)} is no array of numbers", "give rows of one length") from error
    return value


def _called(name: str) -> str:
    return f"input {name}" if name.isdigit() else printable(name)


def _like(value: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return value.to(like.device, like.dtype if value.is_floating_point() and like.is_floating_point() else None)


def _is_numbers(value: Any) -> bool:
    if not isinstance(value, Sequence) or isinstance(value, str):
        return False
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, int | float)


def _is_whole(tensor: torch.Tensor) -> bool:
    return not tensor.is_floating_point() and not tensor.is_complex() and tensor.dtype is not torch.bool


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    return [tensor for one in inside for tensor in _tensors(one)]
