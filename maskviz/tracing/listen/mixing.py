"""Where attention mixes its values: found in a running model, whatever way its attention is written."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

from maskviz.tracing.listen.recorder import Recorder
from maskviz.tracing.listen.taps import SDPA_PARAMETERS, SOFTMAX

_PRODUCTS = {torch.matmul, torch.bmm, torch.Tensor.matmul, torch.Tensor.bmm, torch.Tensor.__matmul__}


class MixingListener(TorchFunctionMode):
    """Follows attention weights from their softmax to the product with the values.

    What is done there is for those who build on it: `attended` where attention is fused, `mixed` where it is written
    out.
    """

    def __init__(self, recorder: Recorder, paths: frozenset[str]) -> None:
        """Listen in the modules of these paths, while a recorder follows which module runs."""
        super().__init__()
        self.recorder = recorder
        self._paths = paths
        self._weights: dict[int, torch.Tensor] = {}  # what was made of a softmax, by id; kept so that ids stay theirs

    @abstractmethod
    def attended(self, path: str, attend: Callable[..., torch.Tensor], given: dict[str, Any]) -> torch.Tensor:
        """Stand in for a fused attention, `attend(**given)`; returns [batch, head, query, width] as it does."""

    @abstractmethod
    def mixed(self, path: str, weights: torch.Tensor, values: torch.Tensor, output: torch.Tensor) -> torch.Tensor:
        """Stand in for `output` [..., query, width], weights [..., query, key] times values [..., key, width]."""

    def softened(self, path: str, weights: torch.Tensor) -> torch.Tensor:
        """Stand in for the result of a softmax."""
        del path
        return weights

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        positional: tuple[Any, ...] = (),
        arguments: dict[str, Any] | None = None,
    ) -> Any:
        """Follow what a module of these paths calls."""
        del types
        arguments = arguments or {}
        path = self._path()
        if path is None:
            return function(*positional, **arguments)
        if function is torch.nn.functional.scaled_dot_product_attention:
            return self.attended(path, function, dict(zip(SDPA_PARAMETERS, positional, strict=False)) | arguments)
        if function in _PRODUCTS and positional and id(positional[0]) in self._weights:
            return self.mixed(path, positional[0], positional[1], function(*positional, **arguments))
        if function is torch.einsum and len(positional) == 3 and id(positional[1]) in self._weights:
            return self._summed(path, positional, function(*positional, **arguments))
        result = function(*positional, **arguments)
        if function in SOFTMAX:
            result = self.softened(path, result)
            self._weights[id(result)] = result
        elif self._is_made_of_weights(positional, result):
            self._weights[id(result)] = result
        return result

    def forget(self) -> None:
        """Let go of the weights followed so far."""
        self._weights.clear()

    def _path(self) -> str | None:
        """The attention module that runs now, itself or by a module within it that multiplies (SqueezeBERT)."""
        path = self.recorder.attending if self.recorder.module_paths else ""
        if path in self._paths:
            return path
        around = path.rpartition(".")[0]
        return around if around in self._paths else None

    def _is_made_of_weights(self, positional: tuple[Any, ...], result: Any) -> bool:
        """Whether a function did no more to weights than to scale, cast or cut them (a sink's column)."""
        first = positional[0] if positional else None
        return (
            isinstance(result, torch.Tensor)
            and isinstance(first, torch.Tensor)
            and id(first) in self._weights
            and result.ndim >= 3
            and result.is_floating_point()
        )

    def _summed(self, path: str, positional: tuple[Any, ...], result: torch.Tensor) -> torch.Tensor:
        equation, weights, values = positional
        axes = _axes(equation, weights)
        if axes is None:
            return result
        mixed = self.mixed(path, weights, values.permute(axes.values), result.permute(axes.output))
        return mixed.permute([axes.output.index(axis) for axis in range(result.ndim)])


@dataclass(frozen=True, slots=True)
class _Axes:
    """Orders of axes that turn an einsum's operand and result to [..., key, width] and [..., query, width]."""

    values: tuple[int, ...]
    output: tuple[int, ...]


def _axes(equation: str, weights: torch.Tensor) -> _Axes | None:
    """The axes of an einsum of weights and values, where the weights' last axis is the key's; None where the equation
    says something else (XLNet writes "bnij,jbnd->ibnd")."""
    operands, _, result = equation.replace(" ", "").partition("->")
    first, _, second = operands.partition(",")
    key, batch = first[-1], first[:-2]
    width = [letter for letter in second if letter not in first]
    if weights.ndim != len(first) or key not in second or key in result or len(width) != 1:
        return None
    if sorted(second) != sorted(batch + key + width[0]) or sorted(result) != sorted(first[:-1] + width[0]):
        return None
    return _Axes(
        tuple(second.index(letter) for letter in (*batch, key, *width)),
        tuple(result.index(letter) for letter in (*first[:-1], *width)),
    )
