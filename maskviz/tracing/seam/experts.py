"""The experts of a mixture, by what their modules are called and hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from maskviz.tracing.seam.replacing import Canary


@contextmanager
def experts_passed_over(model: torch.nn.Module) -> Iterator[None]:
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


def _are_stacked() -> bool:
    from transformers import MixtralConfig, MixtralModel

    config = MixtralConfig(vocab_size=4, hidden_size=4, intermediate_size=4, num_hidden_layers=1, num_local_experts=2)
    config.num_attention_heads = config.num_key_value_heads = 1
    with torch.device("meta"):
        return any(map(_are_experts, MixtralModel(config).modules()))


CANARIES = (Canary("the experts of a mixture", "transformers", _are_stacked),)
