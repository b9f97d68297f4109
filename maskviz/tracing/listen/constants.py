"""Tensors of one number, computed with as one number: what a weightless run makes of its weights.

Such a tensor is a single element expanded to its shape, so that it costs no memory; what most operations make of it
is again one number, so that it costs no time. The results are those of the operations themselves.
"""

from __future__ import annotations

from typing import Any

import torch

from maskviz.core.errors import CannotTraceError
from maskviz.core.machine import as_size, free_bytes
from maskviz.tracing.seam.torch_names import COPY, tree_map, writes

_aten = torch.ops.aten
# A place for every element is made where an operation wants one; of a large one, of at most this part of the free
# memory, since several are held at once.
_MUCH, _SHARE = 1 << 28, 4
# Operations whose result holds the number they were given, wherever it lands.
_KEEPING = {
    _aten.clone.default,
    COPY,
    _aten.mean.dim,
    _aten.repeat.default,
    _aten.cat.default,
    _aten.stack.default,
    _aten.index_select.default,
    _aten.roll.default,
    _aten.flip.default,
}
# Operations that give zeros where one factor is zero.
_PRODUCTS = {_aten.mul.Tensor, _aten.mm.default, _aten.bmm.default}


def is_constant(tensor: torch.Tensor) -> bool:
    """Whether a tensor is one element, expanded."""
    return tensor.numel() > 1 and tensor.untyped_storage().nbytes() == tensor.element_size()


def run_on_real(
    function: Any, positional: tuple[Any, ...], arguments: dict[str, Any], tensors: list[torch.Tensor]
) -> Any:
    """Run an operation on real tensors, on one number instead of many where that is all it needs.

    Args:
        function: The operation.
        positional, arguments: What it is called with.
        tensors: The tensors among them.
    """
    constant = [tensor for tensor in tensors if is_constant(tensor)]
    if not constant:
        return function(*positional, **arguments)
    if writes(function):
        return _written_on_real(function, positional, arguments)
    if len(constant) == sum(tensor.ndim > 0 and tensor.numel() > 0 for tensor in tensors):
        if torch.Tag.pointwise in function.tags:
            value = function(*tree_map(_element, positional), **tree_map(_element, arguments))
            return _expanded_on_real(value, function, positional, arguments)
        if function in _KEEPING and len({_element(tensor).item() for tensor in constant}) == 1:
            return _expanded_on_real(_element(constant[0]), function, positional, arguments)
    if function in _PRODUCTS and any(not _element(tensor).any() for tensor in constant):
        return _expanded_on_real(torch.zeros(()), function, positional, arguments)
    try:
        return function(*positional, **arguments)
    except RuntimeError:  # some operations want a place for every element
        return function(*tree_map(_dense, positional), **tree_map(_dense, arguments))


def _written_on_real(function: Any, positional: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
    """Run an operation that writes into its first tensor, which needs a place for every element."""
    first = positional[0]
    if isinstance(first, torch.Tensor) and is_constant(first):
        first.set_(_dense(first))
    return function(*positional, **arguments)


def _expanded_on_real(value: Any, function: Any, positional: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
    """One number in the shape and type that an operation gives."""
    placed = {name: "meta" if name == "device" and given is not None else given for name, given in arguments.items()}
    shape = function(*tree_map(_shape_alone, positional), **tree_map(_shape_alone, placed))
    if not isinstance(shape, torch.Tensor) or not isinstance(value, torch.Tensor):
        return function(*positional, **arguments)
    return value.to(shape.dtype).expand(shape.shape)


def _dense(value: Any) -> Any:
    if not isinstance(value, torch.Tensor) or not is_constant(value):
        return value
    count = value.numel() * value.element_size()
    if count > _MUCH and (free := free_bytes()) is not None and count > free // _SHARE:
        raise CannotTraceError(
            f"an operation on {list(value.shape)} numbers needs {as_size(count)}, {as_size(free)} are free",
            "check the config's sizes",
        )
    return value.clone(memory_format=torch.contiguous_format)


def _element(value: Any) -> Any:
    return value.as_strided((), ()) if isinstance(value, torch.Tensor) and is_constant(value) else value


def _shape_alone(value: Any) -> Any:
    if not isinstance(value, torch.Tensor):
        return value
    return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="meta")
