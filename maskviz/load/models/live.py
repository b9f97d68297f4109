"""A model object somebody already has, and inputs it was already given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from maskviz.core.errors import UsageError
from maskviz.load.models.adapters import adapters_in_force, check_inside, is_adapted
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded, load_tokenizer
from maskviz.load.models.parallel import devices_of
from maskviz.load.models.source import resolve

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
        note=adapters_in_force(own),
    )
    found, problem = (tokenizer, "") if tokenizer is not None else _tokenizer_of(own)
    loaded = Loaded(own, found, card, tokenizer_problem=problem)
    return replace(loaded, invented=True) if loaded.weightless else loaded


def _unwrapped(model: Any) -> PreTrainedModel:
    """The model inside of what wraps it."""
    while not isinstance(model, PreTrainedModel):
        if is_adapted(model):
            check_inside(model)
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
