"""The tap for models that write their attention by hand: it sees softmax and scaled_dot_product_attention."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.run.masks import Delivery
from maskviz.tracing.attend import attend_heads
from maskviz.tracing.doors import to_floats, visible_cells
from maskviz.tracing.listen.recorder import Captured, Recorder, broadcast_cells
from maskviz.tracing.listen.shadow import real
from maskviz.tracing.seam.torch_names import tree_map

SOFTMAX = {torch.softmax, torch.nn.functional.softmax, torch.Tensor.softmax}
SDPA_PARAMETERS = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")


class SoftmaxListener(TorchFunctionMode):
    """Records every softmax that is one of attention, and gates its result.

    A factor on a head's probabilities is the same factor on the head's output, since mixing the values is linear:
    here the probabilities carry the gate, and the pattern is recorded before it.
    """

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        positional: tuple[Any, ...] = (),
        arguments: dict[str, Any] | None = None,
    ) -> Any:
        del types
        arguments = arguments or {}
        if not self._recorder.paused and self._recorder.module_paths and not self._recorder.away:
            if function in SOFTMAX:
                return self._softmax(function, positional, arguments)
            if function is torch.nn.functional.scaled_dot_product_attention:
                return self._sdpa(function, positional, arguments)
            if function is torch.logsumexp:  # the sum below a softmax that is written out
                self._recorder.odd.append((positional[0], None))
        return function(*positional, **arguments)

    def _softmax(self, function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
        result = function(*positional, **arguments)
        scores = positional[0] if positional else arguments["input"]
        dimension = arguments.get("dim", positional[1] if len(positional) > 1 else None)
        split = self._recorder.expected.split(tuple(scores.shape))
        if dimension not in (-1, scores.ndim - 1):
            return result
        if split is None:
            self._recorder.odd.append((scores, result))
            return result
        gate = self._recorder.gate(self._recorder.attending)
        pattern = result.reshape(split)
        self._record(pattern, visible_cells(scores.reshape(split)), key_heads=split[1], delivery=Delivery.ADDITIVE)
        return result if gate is None else (pattern * _column(gate, result)).reshape(result.shape)

    def _sdpa(self, function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
        if self._recorder.weightless:  # it compares devices before anything else can
            positional, arguments = (tree_map(real, given) for given in (positional, arguments))
        output = function(*positional, **arguments)
        given = dict(zip(SDPA_PARAMETERS, positional, strict=False)) | arguments
        query, key, mask = given["query"], given["key"], given.get("attn_mask")
        if query.ndim != 4 or self._recorder.expected.split((*query.shape[:3], key.shape[2])) is None:
            return output
        delivery = _delivery(mask, bool(given.get("is_causal")))
        if mask is None:
            mask = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=query.device)
            mask = mask.tril() if delivery is Delivery.FLAG else mask
        cells = visible_cells(mask)
        visible = torch.as_tensor(cells, device=query.device)
        bias = None if mask.dtype is torch.bool else mask
        scale = given.get("scale") or query.shape[-1] ** -0.5
        _, pattern = attend_heads(query, key, given["value"], visible, scale=scale, bias=bias)
        gate = self._recorder.gate(self._recorder.attending)
        self._record(pattern, cells, key_heads=key.shape[1], delivery=delivery)
        return output if gate is None else output * _column(gate, output)

    def _record(self, pattern: torch.Tensor, visible: BoolArray, key_heads: int, delivery: Delivery) -> None:
        batch, heads, queries, keys = pattern.shape
        self._recorder.record(
            Captured(
                module=self._recorder.attending,
                heads=heads,
                key_heads=key_heads,
                pattern=None if self._recorder.weightless else to_floats(pattern),
                visible=broadcast_cells(visible, (batch, queries, keys)),
                source=None,
                bias=None,
                delivery=delivery,
            )
        )


def _delivery(mask: torch.Tensor | None, is_causal: bool) -> Delivery:
    if mask is None:
        return Delivery.FLAG if is_causal else Delivery.NOTHING
    return Delivery.BOOLEAN if mask.dtype is torch.bool else Delivery.ADDITIVE


def _column(gate: FloatArray, like: torch.Tensor) -> torch.Tensor:
    """Gates [head] as [head, 1, 1], of the type and device of `like`."""
    return torch.as_tensor(np.array(gate), dtype=like.dtype, device=like.device)[:, None, None]


@contextmanager
def module_path_hooks(model: PreTrainedModel, recorder: Recorder) -> Iterator[None]:
    """Keep `recorder.module_paths` up to date with the modules that are running."""
    handles = []

    def entering(path: str) -> Callable[..., None]:
        return lambda *_: recorder.enter(path) if recorder.here else None

    def leaving(*_: Any) -> None:
        if recorder.here:
            recorder.module_paths.pop()

    try:
        for path, module in model.named_modules():
            handles.append(module.register_forward_pre_hook(entering(path)))
            handles.append(module.register_forward_hook(leaving, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()
        recorder.module_paths.clear()
