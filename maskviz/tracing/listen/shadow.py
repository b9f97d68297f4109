"""The weightless run: a model's own forward with its weights on the meta device.

Masks, positions and padding are computed from the inputs alone, by the model's own code, and stay real. What a weight
touches is known by its shape only and becomes zeros, or random numbers: where a mask differs between the two, it
depends on content, and a config cannot tell it.
"""

from __future__ import annotations

from typing import Any

import torch

from maskviz.core.errors import CannotTraceError
from maskviz.core.machine import free_bytes
from maskviz.tracing.listen import constants
from maskviz.tracing.seam.torch_names import ITEM, TorchDispatchMode, tree_leaves, tree_map, writes

_META = torch.device("meta")
_CPU = torch.device("cpu")
# Tensors that take a shape from their argument and no number: nothing of a weight is in them.
_LIKE = {
    torch.ops.aten.zeros_like.default,
    torch.ops.aten.ones_like.default,
    torch.ops.aten.empty_like.default,
    torch.ops.aten.full_like.default,
    torch.ops.aten.new_zeros.default,
    torch.ops.aten.new_ones.default,
    torch.ops.aten.new_empty.default,
    torch.ops.aten.new_full.default,
}
# An operation that has no shape rule is run on stand-ins of this many numbers at most.
_LARGEST_STAND_IN = 1 << 24
# Several of a layer's outputs are held at once: none may take more than this part of the free memory.
_SHARE = 4


class Shadow(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """While it is on, operations on meta tensors give real tensors of the right shape on the CPU.

    Args:
        seed: None fills them with zeros, a number with random ones.
    """

    def __init__(self, seed: int | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._free = free_bytes()
        self._random = None if seed is None else torch.Generator().manual_seed(seed)

    def __torch_dispatch__(
        self, function: Any, types: Any, positional: tuple[Any, ...] = (), arguments: dict[str, Any] | None = None
    ) -> Any:
        arguments = dict(arguments or {})
        if arguments.get("device") is not None and torch.device(arguments["device"]) == _META:
            arguments["device"] = _CPU  # the device of a weight, asked for by code that computes no weight
        tensors = [leaf for leaf in tree_leaves((positional, arguments)) if isinstance(leaf, torch.Tensor)]
        on_meta = sum(tensor.device == _META for tensor in tensors)
        if not on_meta:
            return constants.run_on_real(function, positional, arguments, tensors)
        if function in _LIKE:
            return function(*tree_map(real, positional), **arguments)
        if function is ITEM:
            return torch.zeros((), dtype=tensors[0].dtype).item()
        return self._shaped(function, positional, arguments, weights_alone=on_meta == len(tensors))

    def _shaped(self, function: Any, positional: Any, arguments: dict[str, Any], *, weights_alone: bool) -> Any:
        placed = {name: _META if name == "device" and value is not None else value for name, value in arguments.items()}
        try:
            result = function(*tree_map(_to_meta, positional), **tree_map(_to_meta, placed))
        except NotImplementedError:
            return function(*tree_map(real, positional), **tree_map(real, arguments))
        if writes(function):
            return positional[0] if isinstance(result, torch.Tensor) else result  # the tensor itself was written
        if weights_alone:
            return result  # a view of a weight stays a weight
        return tree_map(self._filled, result)

    def _filled(self, value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or value.device != _META:
            return value
        if self._random is None or not value.dtype.is_floating_point:
            return torch.zeros((), dtype=value.dtype).expand(value.shape)
        if self._free is not None and value.nbytes > self._free // _SHARE:
            raise CannotTraceError(
                f"a layer's output of {tuple(value.shape)} needs {value.nbytes / 1e9:.1f} GB",
                "check the config's sizes",
            )
        return torch.randn(value.shape, generator=self._random).to(value.dtype)


def _to_meta(value: Any) -> Any:
    if isinstance(value, torch.Tensor) and value.device != _META:
        return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=_META)
    return value


def real(value: Any) -> Any:
    """Zeros on the CPU for a tensor on the meta device; anything else as it is.

    Raises:
        NotImplementedError: it is too large to stand in for.
    """
    if not isinstance(value, torch.Tensor) or value.device != _META:
        return value
    if value.numel() > _LARGEST_STAND_IN:
        raise NotImplementedError(f"an operation on a weight of {tuple(value.shape)} has no rule for its shape alone")
    return torch.zeros(value.shape, dtype=value.dtype)
