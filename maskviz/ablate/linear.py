"""Linear layers multiplied by oneDNN.

For float32 on x86 processors torch multiplies by MKL, which leaves the wide registers of AMD's processors unused;
oneDNN uses them, and was measured at twice the speed on one with AVX-512. Both add up float32 products: they differ in
the order of summation alone.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


def multiplied_by_onednn(model: torch.nn.Module) -> AbstractContextManager[Any]:
    """A block in which the float32 linear layers of a model on an x86 CPU are multiplied by oneDNN, without gradients;
    one that changes nothing where torch has no oneDNN, and for any other model."""
    place = next(model.parameters()).device.type
    known = hasattr(torch.ops.mkldnn, "_linear_pointwise") and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    fitting = place == "cpu" and platform.machine() in ("x86_64", "AMD64")
    return _ByOneDnn() if known and fitting and not torch.is_grad_enabled() else nullcontext()


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


def _plain(positional: tuple[Any, ...]) -> bool:
    """Whether these are plain float32 matrices; quantized and distributed ones have ways of their own."""
    return all(
        one is None or (type(one) in (torch.Tensor, torch.nn.Parameter) and one.dtype is torch.float32 and one.numel())
        for one in positional
    )
