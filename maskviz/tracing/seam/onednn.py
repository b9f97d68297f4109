"""Matrices multiplied by oneDNN.

For float32 on x86 processors torch multiplies by MKL, which leaves the wide registers of AMD's processors unused;
oneDNN uses them, and was measured at twice the speed on one with AVX-512. Both add up float32 products: they differ in
the order of summation alone.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from maskviz.tracing.seam.replacing import Canary, has


def multiplied_by_onednn(model: torch.nn.Module) -> AbstractContextManager[Any]:
    """A block in which the float32 linear layers of a model on an x86 CPU are multiplied by oneDNN, without gradients;
    one that changes nothing where torch has no oneDNN, and for any other model."""
    fitting = next(model.parameters()).device.type == "cpu" and _available()
    return _ByOneDnn() if fitting and not torch.is_grad_enabled() else nullcontext()


def product(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """`left @ right.T` of [row, inner] and [column, inner], without gradients."""
    if left.device.type == "cpu" and _plain((left, right)) and _available():
        result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(left, right, None, "none", [], "")
        return result
    return left @ right.T


@cache
def _available() -> bool:
    known = _is_there() and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return known and platform.machine() in ("x86_64", "AMD64")


class _ByOneDnn(TorchFunctionMode):
    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        positional: tuple[Any, ...] = (),
        arguments: dict[str, Any] | None = None,
    ) -> Any:
        del types
        arguments = arguments or {}
        if function is torch.nn.functional.linear and not arguments and _plain(positional):
            bias = positional[2] if len(positional) > 2 else None
            return torch.ops.mkldnn._linear_pointwise(positional[0], positional[1], bias, "none", [], "")
        return function(*positional, **arguments)


def _plain(matrices: tuple[Any, ...]) -> bool:
    """Whether these are plain float32 matrices; quantized and distributed ones have ways of their own, and with gaps
    between its rows a matrix is multiplied by oneDNN's slow reference code."""
    return all(
        one is None
        or (
            type(one) in (torch.Tensor, torch.nn.Parameter)
            and one.dtype is torch.float32
            and one.numel()
            and (one.is_contiguous() or (one.ndim == 2 and one.T.is_contiguous()))
        )
        for one in matrices
    )


def _is_there() -> bool:
    return has(torch.ops.mkldnn, "_linear_pointwise")


CANARIES = (Canary("oneDNN's linear layer", "torch", _is_there),)
