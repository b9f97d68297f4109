"""The with-block that listens to a model's attention, and restores everything it touched.

Two taps hang in it. Models on transformers' attention interface are heard through its two public registries, under
one name of ours in both (in the attention registry alone, a model would silently lose its causal mask). Models that
write their attention by hand are heard by `handwritten`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.utils.generic import GeneralInterface

from maskviz.core.algebra import Rule, all_of
from maskviz.core.arrays import Content, FloatArray
from maskviz.core.errors import CannotTraceError
from maskviz.core.masks import Delivery
from maskviz.core.rules import Padding
from maskviz.trace.doors import to_array, to_floats
from maskviz.trace.handwritten import SoftmaxListener, module_path_hooks
from maskviz.trace.provenance import rule_of
from maskviz.trace.recorder import Captured, Heard, Recorder

NAME = "maskviz"


@contextmanager
def listening(model: PreTrainedModel, recorder: Recorder) -> Iterator[None]:
    """Listen to every attention of a model while the block runs.

    Registries, attention implementations, hooks and train/eval mode are as they were afterwards, also when the
    model raises.
    """
    paths = {id(module): path for path, module in model.named_modules()}
    with ExitStack() as block:
        block.enter_context(evaluating(model))
        block.enter_context(_registered(ALL_MASK_ATTENTION_FUNCTIONS, _mask_listener(recorder)))
        block.enter_context(_registered(ALL_ATTENTION_FUNCTIONS, _attention_listener(recorder, paths)))
        block.enter_context(_mask_functions_heard(recorder))
        block.enter_context(_implementation(model))
        block.enter_context(module_path_hooks(model, recorder))
        block.enter_context(SoftmaxListener(recorder))
        yield


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and every module back into its own afterwards."""
    before = [(module, module.training) for module in model.modules()]
    model.train(False)
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


@contextmanager
def _registered(registry: GeneralInterface, function: Callable[..., Any]) -> Iterator[None]:
    """Register a function under our name, library-wide: a name known locally alone gets no mask built for it."""
    registry.register(NAME, function)
    try:
        yield
    finally:
        registry._global_mapping.pop(NAME)


@contextmanager
def _implementation(model: PreTrainedModel) -> Iterator[None]:
    """Set our name on every config whose modules use the attention interface, "eager" on the others."""
    configs: dict[int, tuple[PreTrainedConfig, bool]] = {}
    for module in model.modules():
        config = getattr(module, "config", None)
        if isinstance(config, PreTrainedConfig):
            known = configs.get(id(config), (config, False))[1]
            configs[id(config)] = (config, known or uses_interface(module))
    before = [(config, config._attn_implementation_internal) for config, _ in configs.values()]
    try:
        for config, interface in configs.values():
            config._attn_implementation_internal = NAME if interface else "eager"
        yield
    finally:
        for config, name in before:
            config._attn_implementation_internal = name


def uses_interface(module: torch.nn.Module) -> bool:
    """Whether the file a module's forward is written in calls transformers' attention interface."""
    return "ALL_ATTENTION_FUNCTIONS" in _names_seen_by(module)


def _names_seen_by(module: torch.nn.Module) -> dict[str, Any]:
    """The globals of a module's forward: of the file it is written in, also where a subclass inherits it."""
    names: dict[str, Any] = getattr(inspect.unwrap(type(module).forward), "__globals__", {})
    return names


@contextmanager
def _mask_functions_heard(recorder: Recorder) -> Iterator[None]:
    """Hear masks built under the library's own names too: models with hand-written attention ask for "eager"."""
    before = dict(ALL_MASK_ATTENTION_FUNCTIONS._local_mapping)
    for name in ("eager", "sdpa"):
        ALL_MASK_ATTENTION_FUNCTIONS[name] = _mask_listener(recorder, ALL_MASK_ATTENTION_FUNCTIONS[name])
    try:
        yield
    finally:
        ALL_MASK_ATTENTION_FUNCTIONS._local_mapping.clear()
        ALL_MASK_ATTENTION_FUNCTIONS._local_mapping.update(before)


def _mask_listener(recorder: Recorder, build: Callable[..., Any] = eager_mask) -> Callable[..., Any]:
    def mask(**arguments: Any) -> Any:
        # With the skips off a mask is never None by optimisation: what is meant is what is seen.
        tensor = build(**{**arguments, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})
        if isinstance(tensor, torch.Tensor):
            recorder.heard.append(Heard(tensor, _rule_heard(arguments), _query_offset(arguments)))
        return tensor

    return mask


def _rule_heard(arguments: dict[str, Any]) -> Rule:
    rule = rule_of(arguments["mask_function"])
    keep = arguments.get("attention_mask")
    if keep is None or bool(keep.all()):
        return rule
    return all_of(rule, Padding(Content(to_array(keep), np.bool_)))


def _query_offset(arguments: dict[str, Any]) -> int:
    # Releases of transformers before 5.3 pass the positions themselves instead of an offset.
    positions = arguments.get("cache_position")
    return int(positions[0]) if positions is not None else int(arguments.get("q_offset", 0))


def _attention_listener(recorder: Recorder, paths: dict[int, str]) -> Callable[..., Any]:
    def attention(
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        *positional: Any,
        **arguments: Any,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        path = paths.get(id(module), type(module).__name__)
        recorder.paused = True
        try:
            output, weights = _own_eager(module, path)(
                module, query, key, value, attention_mask, *positional, **arguments
            )
        finally:
            recorder.paused = False
        gate = recorder.gate
        shape = (query.shape[0], query.shape[2], key.shape[2])
        delivery = Delivery.NOTHING if attention_mask is None else Delivery.ADDITIVE
        if attention_mask is not None and attention_mask.dtype is torch.bool:
            delivery = Delivery.BOOLEAN
        recorder.calls.append(
            Captured(
                module=path,
                heads=query.shape[1],
                key_heads=key.shape[1],
                pattern=to_floats(weights),
                visible=recorder.cells_of(attention_mask, shape),
                source=attention_mask,
                bias=recorder.bias_of(arguments.get("position_bias")),
                delivery=delivery,
            )
        )
        return gated(output, gate), weights

    return attention


def gated(output: torch.Tensor, gate: FloatArray | None) -> torch.Tensor:
    """Multiply gates [head] onto the output of each head [batch, query, head, width], before it is projected."""
    if gate is None:
        return output
    factors = torch.as_tensor(np.array(gate), dtype=output.dtype, device=output.device)
    if output.ndim == 3:  # heads already joined: [batch, query, heads * width]
        batch, queries, width = output.shape
        return (output.view(batch, queries, len(gate), -1) * factors[:, None]).view(batch, queries, width)
    return output * factors[:, None]


def _own_eager(module: torch.nn.Module, path: str) -> Callable[..., Any]:
    """The eager attention of the file the module is written in: softcaps, sinks and biases stay the model's."""
    function = _names_seen_by(module).get("eager_attention_forward")
    if function is None:
        raise CannotTraceError(
            f"{path} ({type(module).__name__}) has no eager attention of its own to listen to",
            "the model's code must define eager_attention_forward",
        )
    found: Callable[..., Any] = function
    return found
