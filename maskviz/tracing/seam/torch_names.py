"""Names of torch that it calls its own and offers no other way to."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode as TorchDispatchMode
from torch.utils._pytree import TreeSpec as TreeSpec
from torch.utils._pytree import tree_flatten as tree_flatten
from torch.utils._pytree import tree_leaves as tree_leaves
from torch.utils._pytree import tree_map as tree_map
from torch.utils._pytree import tree_unflatten as tree_unflatten

from maskviz.tracing.seam.replacing import Canary

# Calls nothing that listens to torch's functions while the block runs.
Unheard = torch._C.DisableTorchFunction
# The operation behind `tensor.item()`.
ITEM = torch.ops.aten._local_scalar_dense.default
# The operation behind `tensor.to(...)`.
COPY = torch.ops.aten._to_copy.default


def writes(operation: Any) -> bool:
    """Whether an operation writes into one of its arguments."""
    return bool(operation._schema.is_mutable)


def writes_so_far(tensor: torch.Tensor) -> int:
    """How often a tensor has been written into."""
    return int(tensor._version)


def is_learnt(tensor: torch.Tensor) -> bool:
    """Whether a tensor is a parameter, or one seen from another side."""
    return isinstance(tensor, torch.nn.Parameter) or isinstance(tensor._base, torch.nn.Parameter)


def is_mapped(tensor: torch.Tensor) -> bool:
    """Whether a tensor stands for one of many inside torch.vmap: its numbers cannot be read there."""
    return bool(torch._C._functorch.is_batchedtensor(tensor))


def buffers_of(module: torch.nn.Module) -> dict[str, torch.Tensor | None]:
    """The table of a module's own buffers: what is written into it is the module's."""
    return module._buffers


def is_compiled_in_place(module: torch.nn.Module) -> bool:
    """Whether `module.compile()` was called."""
    return getattr(module, "_compiled_call_impl", None) is not None


def _knows_views() -> bool:
    parameter = torch.nn.Parameter(torch.zeros(2, 1))
    with torch.no_grad():
        return is_learnt(parameter.T[None]) and not is_learnt(parameter + 1)


def _knows_mapped_tensors() -> bool:
    seen: list[bool] = []

    def looked_at(row: torch.Tensor) -> torch.Tensor:
        seen.append(is_mapped(row))
        return row

    torch.vmap(looked_at)(torch.zeros(1, 1))
    return seen == [True] and not is_mapped(torch.zeros(1))


def _keeps_what_modules_have() -> bool:
    module = torch.nn.BatchNorm1d(1)
    return "running_mean" in buffers_of(module) and hasattr(module, "_compiled_call_impl")


def _hands_operations_on() -> bool:
    seen: list[object] = []

    class Listening(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, function, types, positional=(), arguments=None):  # type: ignore[no-untyped-def]
            seen.append(function)
            return function(*positional, **(arguments or {}))

    with Listening():  # type: ignore[no-untyped-call]
        torch.ones(1).double().add_(1).item()
    return {ITEM, COPY} <= set(seen) and any(map(writes, seen)) and not writes(ITEM)


def _maps_trees() -> bool:
    leaves, shape = tree_flatten(({"a": [1]}, 2))
    doubled = tree_map(lambda leaf: 2 * leaf, {"a": (1,)})
    whole: bool = tree_unflatten(leaves, shape) == ({"a": [1]}, 2)
    return whole and doubled == {"a": (2,)}


def _counts_writes() -> bool:
    tensor = torch.zeros(1)
    before = writes_so_far(tensor)
    return writes_so_far(tensor.add_(1)) > before


CANARIES = (
    Canary("how often a tensor has been written into", "torch", _counts_writes),
    Canary("the mode that every operation goes through", "torch", _hands_operations_on),
    Canary("what a view of a parameter is one of", "torch", _knows_views),
    Canary("what is inside torch.vmap", "torch", _knows_mapped_tensors),
    Canary("the buffers of a module, and whether it is compiled", "torch", _keeps_what_modules_have),
    Canary("how nested values are walked", "torch", _maps_trees),
)
