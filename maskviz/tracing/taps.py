"""The with-block that listens to a model's attention, and restores everything it touched.

Two taps hang in it. Models on transformers' attention interface are heard through the eager attention of their own
files (`interface`), under the masks transformers builds for it. Models that write their attention by hand are heard
by `handwritten`.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from maskviz.core.algebra import Rule, all_of
from maskviz.core.arrays import Content
from maskviz.core.rules import Padding
from maskviz.tracing.blocks import blocks_heard
from maskviz.tracing.dialect import Dialect
from maskviz.tracing.doors import to_array
from maskviz.tracing.handwritten import SoftmaxListener, module_path_hooks
from maskviz.tracing.interface import eager_attention_heard
from maskviz.tracing.provenance import rule_of
from maskviz.tracing.recorder import Heard, Recorder


@contextmanager
def listening(model: PreTrainedModel, recorder: Recorder) -> Iterator[None]:
    """Listen to every attention of a model while the block runs.

    Functions, registries, attention implementations, hooks and train/eval mode are as they were afterwards, also when
    the model raises.
    """
    with ExitStack() as block:
        dialect = Dialect(model)  # before "eager" is put in place
        block.enter_context(evaluating(model))
        block.enter_context(running(model, "eager", experts=recorder.weightless))
        if recorder.weightless:
            block.enter_context(_experts_passed_over(model))
        block.enter_context(_mask_functions_heard(recorder))
        block.enter_context(eager_attention_heard(model, recorder, dialect))
        block.enter_context(module_path_hooks(model, recorder))
        block.enter_context(blocks_heard(model, recorder))
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


_ATTENTION, _EXPERTS = "_attn_implementation_internal", "_experts_implementation_internal"


@contextmanager
def running(
    model: PreTrainedModel, attention: str, *, experts: bool = False, besides: Container[str] = ()
) -> Iterator[None]:
    """Set an attention implementation on every config of a model, past the checks whether it can be had here.

    Args:
        model: The model.
        attention: Name of the implementation, such as "eager": attention that shows its weights.
        experts: Whether experts are to run "eager" too, which needs no kernel.
        besides: Paths of modules whose configs stay as they are.
    """
    configs: dict[int, PreTrainedConfig] = {}
    for path, module in model.named_modules():
        config = getattr(module, "config", None)
        if isinstance(config, PreTrainedConfig) and path not in besides:
            configs[id(config)] = config
    wanted = {_ATTENTION: attention, _EXPERTS: "eager"} if experts else {_ATTENTION: attention}
    before = [
        (config, name, getattr(config, name)) for config in configs.values() for name in wanted if hasattr(config, name)
    ]
    try:
        for config, name, _ in before:
            setattr(config, name, wanted[name])
        yield
    finally:
        for config, name, value in before:
            setattr(config, name, value)


@contextmanager
def _experts_passed_over(model: PreTrainedModel) -> Iterator[None]:
    """Let what goes into a layer's experts come out again: it has the shape of what they would make of it.

    Without weights there are no numbers to be lost, and hundreds of experts in each of dozens of layers take minutes.
    """
    experts = [module for module in model.modules() if _are_experts(module)]

    def passed_over(hidden_states: torch.Tensor, *_: Any, **__: Any) -> torch.Tensor:
        return hidden_states

    try:
        for module in experts:
            module.forward = passed_over
        yield
    finally:
        for module in experts:
            vars(module).pop("forward", None)


def _are_experts(module: torch.nn.Module) -> bool:
    """Whether a module holds the weights of all experts of a layer, stacked."""
    stacked = module._parameters.get("down_proj")
    return type(module).__name__.endswith("Experts") and stacked is not None and stacked.ndim == 3


@contextmanager
def _mask_functions_heard(recorder: Recorder) -> Iterator[None]:
    """Hear the masks transformers builds."""
    before = dict(ALL_MASK_ATTENTION_FUNCTIONS._local_mapping)
    for name in ("eager", "sdpa"):
        ALL_MASK_ATTENTION_FUNCTIONS[name] = _mask_listener(recorder, ALL_MASK_ATTENTION_FUNCTIONS[name])
    try:
        yield
    finally:
        ALL_MASK_ATTENTION_FUNCTIONS._local_mapping.clear()
        ALL_MASK_ATTENTION_FUNCTIONS._local_mapping.update(before)


def _mask_listener(recorder: Recorder, build: Callable[..., Any]) -> Callable[..., Any]:
    def mask(**arguments: Any) -> Any:
        # With the skips off a mask is never None by optimisation: what is meant is what is seen.
        tensor = build(**{**arguments, "allow_is_causal_skip": False, "allow_is_bidirectional_skip": False})

        if isinstance(tensor, torch.Tensor) and not recorder.away:
            recorder.heard.append(Heard(tensor, rule_heard(arguments), *mask_offsets(arguments)))
        return tensor

    return mask


def rule_heard(arguments: dict[str, Any]) -> Rule:
    """The rule of a mask, from what one of transformers' mask functions is called with."""
    rule = rule_of(arguments["mask_function"])
    keep = arguments.get("attention_mask")
    if keep is None or bool(keep.all()):
        return rule
    return all_of(rule, Padding(Content(to_array(keep), np.bool_)))


def mask_offsets(arguments: dict[str, Any]) -> tuple[int, int]:
    """Positions of the first query and the first key, from what a mask function is called with."""
    # Releases of transformers before 5.3 pass the positions themselves instead of an offset.
    positions = arguments.get("cache_position")
    query = int(positions[0]) if positions is not None else int(arguments.get("q_offset", 0))
    return query, int(arguments.get("kv_offset", 0))
