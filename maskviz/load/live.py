"""A model object somebody already has, and inputs it was already given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from maskviz.core.arrays import BoolArray, IntArray
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.printable import printable
from maskviz.core.trace import Batch
from maskviz.load.card import card_of
from maskviz.load.encode import Encoded, labelled
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


# Arguments that ask for more output, or for a loss, and change no mask.
_LEFT_OUT = ("labels", "output_attentions", "output_hidden_states", "return_dict")


def encoded_inputs(loaded: Loaded, inputs: Mapping[str, Any]) -> Encoded:
    """What a model is called with, as somebody made it, such as a tokenizer's own output; nothing is repaired.

    Args:
        loaded: The model.
        inputs: The arguments of its forward; `input_ids` [batch, token], and an `attention_mask` [batch, token] where
            there is one: 1 keeps, 0 is padding. Tensors are copied to the model's device where they are not there.

    Raises:
        UsageError: there are no ids, or an array of another shape.
    """
    given = {name: value for name, value in inputs.items() if value is not None and name not in _LEFT_OUT}
    main = loaded.model.main_input_name
    tensors = {name: _tensor(value, loaded) for name, value in given.items()}
    ids = tensors.get(main, tensors.get("input_ids"))
    if not isinstance(ids, torch.Tensor) or ids.ndim != 2 or ids.is_floating_point() or not ids.numel():
        raise UsageError(
            f"the inputs have no {main} [batch, token]", "give a tokenizer's output with return_tensors='pt'"
        )
    _check_ids(loaded, ids)
    batch = _side(loaded, ids, tensors.get("attention_mask"))
    types, positions = (_rows(tensors.get(name), ids) for name in ("token_type_ids", "position_ids"))
    batch = replace(batch, token_types=types, position_ids=positions)
    decoder = tensors.get("decoder_input_ids")
    if isinstance(decoder, torch.Tensor):
        _check_ids(loaded, decoder)
        batch = replace(batch, decoder=_side(loaded, decoder, tensors.get("decoder_attention_mask")))
    elif loaded.card.encoder_decoder:
        raise UsageError("the inputs have no decoder_input_ids", f"{loaded.card.architecture} needs them")
    return Encoded(batch, tensors)


def _check_ids(loaded: Loaded, ids: torch.Tensor) -> None:
    """Refuse ids the model has no embedding for: on a GPU they would end the process."""
    vocabulary = loaded.card.vocabulary
    for token in (int(ids.min()), int(ids.max())):
        if token < 0 or (vocabulary is not None and token >= vocabulary):
            raise UsageError(f"id {token} is not in the vocabulary", f"ids run from 0 to {(vocabulary or 1) - 1}")


def _tensor(value: Any, loaded: Loaded) -> Any:
    """A tensor on the model's device; what is no array (a cache, a flag) as it is."""
    if isinstance(value, np.ndarray | list | tuple):
        value = torch.as_tensor(np.asarray(value))
    return value.to(loaded.device) if isinstance(value, torch.Tensor) else value


def _side(loaded: Loaded, ids: torch.Tensor, mask: Any) -> Batch:
    array = _array(ids)
    keep: BoolArray = np.ones(array.shape, dtype=np.bool_)
    if isinstance(mask, torch.Tensor) and mask.ndim == 2:
        if mask.shape != ids.shape:
            shape = " x ".join(map(str, mask.shape))
            raise UsageError(
                f"the attention mask is {shape}, the ids are {' x '.join(map(str, ids.shape))}", "give one for each id"
            )
        keep = _array(mask) != 0
    return labelled(loaded, array, keep, ("",) * len(array))


def _rows(value: Any, ids: torch.Tensor) -> IntArray | None:
    """An argument of one number for each token, or None; positions may be given once for all rows."""
    if not isinstance(value, torch.Tensor) or value.ndim != 2 or value.shape[1] != ids.shape[1]:
        return None
    return _array(value.expand_as(ids)) if value.shape[0] in (1, ids.shape[0]) else None


def _array(tensor: torch.Tensor) -> IntArray:
    array: IntArray = tensor.detach().to("cpu", torch.int64).numpy()
    return array
