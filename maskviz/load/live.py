"""A model object somebody already has, and inputs it was already given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.printable import printable
from maskviz.load.card import card_of
from maskviz.load.model import Loaded, load_tokenizer
from maskviz.load.parallel import devices_of
from maskviz.load.source import resolve

# What wraps a model and holds it: torch.compile, DataParallel and its like.
_WRAPPERS = ("_orig_mod", "module")


def loaded_object(model: Any, tokenizer: PreTrainedTokenizerBase | None) -> Loaded:
    """A model object as it is, ready to be run; it is neither moved nor changed.

    Adapters of PEFT that live inside the model's layers (LoRA and its like) run with it, active or not as they are.

    Args:
        model: A `PreTrainedModel`, or one inside `torch.compile`, `DataParallel` or a `PeftModel`.
        tokenizer: Its tokenizer; None looks for one where the model says it came from, on this machine alone.

    Raises:
        UsageError: it is no such model.
        CannotTraceError: its adapter adds tokens in front of every text, outside of the model.
    """
    own = _unwrapped(model)
    card = card_of(own.config, _name(own), type(own).__name__)
    card = replace(
        card,
        parameters=sum(parameter.numel() for parameter in own.parameters()),
        dtype=str(own.dtype).removeprefix("torch."),
        device=devices_of(own),
        note=_adapters_of(own),
    )
    found, problem = (tokenizer, "") if tokenizer is not None else _tokenizer_of(own)
    loaded = Loaded(own, found, card, tokenizer_problem=problem)
    return replace(loaded, invented=True) if loaded.weightless else loaded


def _unwrapped(model: Any) -> PreTrainedModel:
    """The model inside of what wraps it."""
    while not isinstance(model, PreTrainedModel):
        if isinstance(getattr(model, "peft_config", None), Mapping):
            _check_inside(model)
            model = model.get_base_model()
            continue
        held = [getattr(model, name, None) for name in _WRAPPERS]
        inner = next((one for one in held if isinstance(one, torch.nn.Module)), None)
        if inner is None:
            raise UsageError(
                f"a {type(model).__name__} is no model of transformers", "give a PreTrainedModel, or the name of one"
            )
        model = inner
    return model


def _check_inside(model: Any) -> None:
    """Refuse adapters that are no part of the model's own layers."""
    for name in _names(model.active_adapter):
        if getattr(model.peft_config.get(name), "is_prompt_learning", False):
            raise CannotTraceError(
                f"adapter {name!r} puts tokens of its own in front of every text, outside of the model",
                "a trace would show the model without them; adapters within its layers (LoRA) are traced",
            )


def _adapters_of(model: PreTrainedModel) -> str:
    """A sentence on the adapters in force in a model's layers, empty where there are none."""
    active: dict[str, None] = {}
    for module in model.modules():
        if getattr(module, "disable_adapters", None) is False:  # PEFT's layers have it, True where they are off
            active |= dict.fromkeys(_names(getattr(module, "active_adapters", [])))
    named = ", ".join(map(printable, active))
    return f"with adapter{'s' if len(active) > 1 else ''} {named}" if named else ""


def _names(active: str | list[str]) -> list[str]:
    return [active] if isinstance(active, str) else list(active)


def _name(model: PreTrainedModel) -> str:
    return str(getattr(model, "name_or_path", "") or getattr(model.config, "name_or_path", "") or type(model).__name__)


def _tokenizer_of(model: PreTrainedModel) -> tuple[PreTrainedTokenizerBase | None, str]:
    """The tokenizer beside a model's weights, if they lie on this machine."""
    name = str(getattr(model, "name_or_path", "") or "")
    if not name:
        return None, "the model does not say where it came from"
    try:
        source = resolve(name, offline=True)
    except Exception as error:  # a name is free text
        return None, str(error)
    return load_tokenizer(source)
