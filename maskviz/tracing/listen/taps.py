"""Attention is listened to in place: masks, the interface's attention, and attention written by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedModel

from maskviz.core.arrays import BoolArray, Content, FloatArray
from maskviz.core.rules.algebra import Rule, all_of
from maskviz.core.rules.kinds import Padding
from maskviz.core.run.trace import Delivery
from maskviz.tracing.attend import attend_heads
from maskviz.tracing.calling import MaskBehind, to_array, to_floats, visible_cells
from maskviz.tracing.listen.layout import blocks_heard
from maskviz.tracing.listen.recorder import Captured, Heard, Recorder, broadcast_cells, gated
from maskviz.tracing.listen.shadow import real
from maskviz.tracing.seam.experts import experts_passed_over
from maskviz.tracing.seam.implementations import configs_of, evaluating, implementation_of, running
from maskviz.tracing.seam.masks import (
    eager_attention_replaced,
    mask_functions_replaced,
    offsets_of,
    rule_of,
    uses_interface,
    without_skips,
)
from maskviz.tracing.seam.replacing import alone
from maskviz.tracing.seam.torch_names import tree_map


def added(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What stands for a boolean mask (True = may attend) where masks are added to scores of a type."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


def for_hand_written(model: PreTrainedModel, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inputs with a boolean mask made additive, where hand-written attention that runs sdpa is heard as eager."""
    given = inputs.get("attention_mask")
    mask = given.mask if isinstance(given, MaskBehind) else given
    if not isinstance(mask, torch.Tensor) or mask.dtype is not torch.bool or mask.ndim != 4:
        return inputs
    if implementation_of(model.config) != "sdpa" or any(map(uses_interface, model.modules())):
        return inputs
    made = added(mask, model.dtype)
    return {**inputs, "attention_mask": replace(given, mask=made) if isinstance(given, MaskBehind) else made}


class MaskDialect:
    """How the modules of a model read a mask; made before our own attention is put in place."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._eager = {id(config) for config in configs_of(model) if implementation_of(config) == "eager"}
        # Beside each tensor made from a mask the mask itself, so that its id stays its own.
        self._made: dict[tuple[int, bool], tuple[torch.Tensor, torch.Tensor]] = {}

    def additive(self, module: torch.nn.Module, mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
        """The mask that, added to the scores, does what the module's own attention does with it.

        Args:
            module: The attention module.
            mask: As the model handed it over: bool True = may attend where the module runs no eager attention.
            dtype: Of the scores.

        Returns:
            The same tensor for the same mask, so that calls that share a mask go on sharing it.
        """
        made = self._made.get((id(mask), self._runs_eager(module)))
        if made is not None:
            return made[1]
        read = self.read(module, mask, dtype)
        if mask is not None and read is not None and read is not mask:
            self._made[id(mask), self._runs_eager(module)] = (mask, read)
        return read

    def read(self, module: torch.nn.Module, mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
        """As `additive`, and not remembered: for masks that are cut anew each time."""
        if mask is None or mask.dtype is not torch.bool:
            return mask
        return mask.to(dtype) if self._runs_eager(module) else added(mask, dtype)

    def emptied(
        self, module: torch.nn.Module, mask: torch.Tensor | None, output: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Zero what queries that may attend to nothing got, where sdpa would.

        Args:
            module, mask: As given to `additive`.
            output: [batch, query, head, width], not yet projected.
            weights: [batch, head, query, key].
        """
        if mask is None or mask.ndim != 4 or self._runs_eager(module):
            return output, weights
        seen = mask if mask.dtype is torch.bool else mask != float("-inf")
        blind = ~seen.any(dim=-1)  # [batch or 1, head or 1, query or 1]
        if not bool(blind.any()):
            return output, weights
        if output.ndim == 4:
            output = output.masked_fill(blind.transpose(1, 2)[..., None], 0.0)
        return output, weights.masked_fill(blind[..., None], 0.0)

    def _runs_eager(self, module: torch.nn.Module) -> bool:
        return id(getattr(module, "config", None)) in self._eager


@contextmanager
def eager_attention_heard(model: torch.nn.Module, recorder: Recorder, dialect: MaskDialect) -> Iterator[None]:
    """Hear the eager attention of every file the model's modules are written in.

    Args:
        model: The model.
        recorder: Where to keep what is heard.
        dialect: How its modules read the masks they are handed.
    """
    paths = {id(module): path for path, module in model.named_modules()}
    with eager_attention_replaced(model, lambda original: _listener(original, recorder, paths, dialect)):
        yield


def _listener(
    original: Callable[..., Any], recorder: Recorder, paths: dict[int, str], dialect: MaskDialect
) -> Callable[..., Any]:
    def attention(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        *positional: Any,
        **arguments: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        path = paths.get(id(module))
        if path is None or recorder.expected.is_within_tokens(*query.shape[1:3]):
            foreign: tuple[torch.Tensor, torch.Tensor] = original(
                module, query, key, value, attention_mask, *positional, **arguments
            )
            return foreign
        handed = dialect.additive(module, attention_mask, query.dtype)
        if recorder.paused or recorder.away:  # one file's eager attention calls another's; no tokens are read here
            plain: tuple[torch.Tensor, torch.Tensor] = original(
                module, query, key, value, handed, *positional, **arguments
            )
            return dialect.emptied(module, attention_mask, *plain)
        own = recorder.own_mask(path)
        if own is not None:
            visible = torch.as_tensor(np.array(own), device=query.device)
            attention_mask = handed = added(visible, query.dtype)
        gate = recorder.gate(path)
        with recorder.looking_away():
            if recorder.weightless:
                output, weights = nothing(query, key, value)
            else:
                output, weights = original(module, query, key, value, handed, *positional, **arguments)
                output, weights = dialect.emptied(module, attention_mask, output, weights)
        delivery = Delivery.NOTHING if attention_mask is None else Delivery.ADDITIVE
        if attention_mask is not None and attention_mask.dtype is torch.bool:
            delivery = Delivery.BOOLEAN
        recorder.record(
            Captured(
                module=path,
                heads=query.shape[1],
                key_heads=key.shape[1],
                pattern=None if recorder.weightless else to_floats(weights),
                visible=recorder.cells_of(handed, (query.shape[0], query.shape[2], key.shape[2])),
                source=handed,
                bias=None if recorder.weightless else recorder.bias_of(arguments.get("position_bias")),
                delivery=delivery,
            )
        )
        return gated(output, gate), weights

    return attention


def nothing(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Output [batch, query, head, width] and weights of an attention without numbers."""
    batch, heads, queries, _ = query.shape
    nothing = torch.zeros((), dtype=query.dtype)
    output = nothing.expand(batch, queries, heads, value.shape[-1])
    return output, nothing.expand(batch, heads, queries, key.shape[2])


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


@contextmanager
def listening(model: PreTrainedModel, recorder: Recorder) -> Iterator[None]:
    """Listen to every attention of a model while the block runs.

    Functions, registries, attention implementations, hooks and train/eval mode are as they were afterwards, also when
    the model raises. One thread listens at a time; what other threads and other models do meanwhile is not heard.
    """
    with alone(), ExitStack() as block:
        dialect = MaskDialect(model)  # before "eager" is put in place
        block.enter_context(evaluating(model))
        block.enter_context(running(model, "eager", experts=recorder.weightless))
        if recorder.weightless:
            block.enter_context(experts_passed_over(model))
        block.enter_context(
            mask_functions_replaced(model, ("eager", "sdpa"), lambda build: _mask_listener(recorder, build))
        )
        block.enter_context(eager_attention_heard(model, recorder, dialect))
        block.enter_context(module_path_hooks(model, recorder))
        block.enter_context(blocks_heard(model, recorder))
        block.enter_context(SoftmaxListener(recorder))
        yield


def _mask_listener(recorder: Recorder, build: Callable[..., Any]) -> Callable[..., Any]:
    def mask(**arguments: Any) -> Any:
        tensor = build(**without_skips(arguments))
        if isinstance(tensor, torch.Tensor) and not recorder.away:
            recorder.heard.append(Heard(tensor, rule_heard(arguments), *offsets_of(arguments)))
        return tensor

    return mask


def rule_heard(arguments: dict[str, Any]) -> Rule:
    """The rule of a mask, from what one of transformers' mask functions is called with."""
    rule = rule_of(arguments["mask_function"])
    keep = arguments.get("attention_mask")
    if keep is None or bool(keep.all()):
        return rule
    return all_of(rule, Padding(Content(to_array(keep), np.bool_)))
