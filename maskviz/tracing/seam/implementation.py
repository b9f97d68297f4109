"""Which attention implementation a model runs, and which ones its class supports."""

from __future__ import annotations

from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from maskviz.core.words import Backend
from maskviz.tracing.seam.canary import Canary, MovedError, has
from maskviz.tracing.seam.replacing import alone

_ATTENTION, _EXPERTS = "_attn_implementation_internal", "_experts_implementation_internal"
_NAME = "which attention implementation a config chooses"

# For each backend the flag of a model's class, and the check that raises where it is not set. Releases before 5.1 know
# flash attention 2 by a check of its own.
_SUPPORT = {
    Backend.SDPA: ("_supports_sdpa", ("_sdpa_can_dispatch",)),
    Backend.FLEX: ("_supports_flex_attn", ("_flex_attn_can_dispatch",)),
    Backend.FLASH: ("_supports_flash_attn", ("_flash_attn_can_dispatch", "_flash_attn_2_can_dispatch")),
}


def implementation_of(config: Any) -> str:
    """The attention implementation a config chooses, such as "sdpa"; "eager" where it chooses none."""
    return str(getattr(config, "_attn_implementation", None) or "eager")


def configs_of(model: torch.nn.Module, besides: Container[str] = ()) -> list[PreTrainedConfig]:
    """The configs of a model's modules, each once.

    Args:
        model: The model.
        besides: Paths of modules whose configs do not count.
    """
    found: dict[int, PreTrainedConfig] = {}
    for path, module in model.named_modules():
        config = getattr(module, "config", None)
        if isinstance(config, PreTrainedConfig) and path not in besides:
            found[id(config)] = config
    return list(found.values())


def parts_of(config: PreTrainedConfig) -> Iterator[PreTrainedConfig]:
    """A config, and those of the parts of a composite model."""
    yield config
    for name in getattr(config, "sub_configs", None) or {}:
        part = getattr(config, name, None)
        if isinstance(part, PreTrainedConfig) and part is not config:
            yield from parts_of(part)


@contextmanager
def evaluating(model: torch.nn.Module) -> Iterator[None]:
    """Put a model into evaluation mode, and every module back into its own afterwards."""
    with alone():
        before = [(module, module.training) for module in model.modules()]
        try:
            model.train(False)
            yield
        finally:
            for module, training in before:
                module.training = training


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

    Raises:
        MovedError: configs keep it elsewhere, so that nothing would change.
    """
    wanted = {_ATTENTION: attention, _EXPERTS: "eager"} if experts else {_ATTENTION: attention}
    with alone():
        configs = configs_of(model, besides)
        if any(not hasattr(config, _ATTENTION) for config in configs):
            raise MovedError(_NAME)
        before = [(config, name, getattr(config, name)) for config in configs for name in wanted if has(config, name)]
        try:
            for config, name, _ in before:
                setattr(config, name, wanted[name])
            yield
        finally:
            for config, name, value in before:
                setattr(config, name, value)


def refusal_of(model: PreTrainedModel, backend: Backend) -> str:
    """What transformers says where a model's class does not support a backend; "" where it does.

    Whether the backend's package and device are on this machine is not asked.
    """
    if backend is Backend.EAGER:
        return ""
    flag, checks = _SUPPORT[backend]
    if getattr(model, flag, False):
        return ""
    check = next((getattr(model, name) for name in checks if hasattr(model, name)), None)
    try:
        if check is not None:
            check(*((2,) if backend is Backend.FLASH and check.__name__ == checks[0] else ()))
    except (ValueError, ImportError, AttributeError) as error:
        return str(error).partition(" Please")[0].rstrip(".")
    return f"{type(model).__name__} does not support {backend}"


def flash_instead(model: PreTrainedModel) -> str:
    """The flash attention that a model's class names in place of flash_attention_2; "" where it names none."""
    compatible = getattr(model, "_compatible_flash_implementations", None)
    return str(compatible[0]) if compatible and Backend.FLASH not in compatible else ""


def _chooses() -> bool:
    from transformers import LlamaConfig

    config = LlamaConfig(num_hidden_layers=1)
    setattr(config, _ATTENTION, "sdpa")
    return implementation_of(config) == "sdpa" and hasattr(config, _ATTENTION)


def _says_what_it_supports() -> bool:
    from transformers import LlamaForCausalLM

    flags = all(getattr(LlamaForCausalLM, flag, False) for flag, _ in _SUPPORT.values())
    return flags and all(any(has(LlamaForCausalLM, name) for name in checks) for _, checks in _SUPPORT.values())


CANARIES = (
    Canary(_NAME, "transformers", _chooses),
    Canary("which backends a class supports", "transformers", _says_what_it_supports),
)
