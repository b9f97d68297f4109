"""Adapters of PEFT: which base model one belongs to, how it is put into it, and which are in force in a model."""

from __future__ import annotations

import importlib.util
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedConfig, PreTrainedModel

from maskviz.core.errors import CannotTraceError, NotFoundError
from maskviz.core.writing import printable
from maskviz.load.models.folders import has_adapter_weights, read_adapter
from maskviz.load.models.source import Source, explained
from maskviz.tracing.seam.auto_classes import classes_built_by

# The auto class of what an adapter was trained for, by PEFT's word for it.
_TASKS = {
    "CAUSAL_LM": "AutoModelForCausalLM",
    "SEQ_2_SEQ_LM": "AutoModelForSeq2SeqLM",
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "TOKEN_CLS": "AutoModelForTokenClassification",
    "QUESTION_ANS": "AutoModelForQuestionAnswering",
    "FEATURE_EXTRACTION": "AutoModel",
}
# Kinds that put tokens of their own in front of every text.
_OF_PROMPTS = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT", "CPT")


# The last layer of a classifier among an adapter's weights.
_HEAD = re.compile(r"\.(score|classifier|classifier\.out_proj)\.weight$")


def trained_for(source: Source, config: PreTrainedConfig) -> PreTrainedConfig:
    """The config of an adapter's base, naming the class the adapter was trained for.

    Raises:
        CannotTraceError: the adapter is no part of the model's own layers.
    """
    assert source.adapter is not None
    said = read_adapter(source.adapter, source.name)
    kind = str(said.get("peft_type"))
    if kind in _OF_PROMPTS:
        raise outside(kind)
    auto = getattr(transformers, _TASKS.get(str(said.get("task_type")), ""), None)
    known = () if auto is None else classes_built_by(auto, config)
    if len(known) == 1 and not getattr(config, "auto_map", None):
        config.architectures = [known[0].__name__]
        labels = _labels(source.adapter)
        if labels is not None and hasattr(config, "num_labels"):
            config.num_labels = labels
    return config


def _labels(adapter: Path) -> int | None:
    """Into how many classes the head that came with an adapter sorts; None where none came."""
    try:
        with safe_open(adapter / "adapter_model.safetensors", "np") as weights:
            heads = [name for name in weights.keys() if _HEAD.search(name)]  # noqa: SIM118  (it is no mapping)
            return int(weights.get_slice(heads[0]).get_shape()[0]) if heads else None
    except (OSError, SafetensorError):  # what is wrong with it is said where it is loaded
        return None


def with_adapter(source: Source, model: PreTrainedModel) -> PreTrainedModel:
    """The base model with the adapter's layers in it.

    Raises:
        NotFoundError: PEFT is not installed, or the adapter does not fit.
        CannotTraceError: it names a library that would be run.
    """
    assert source.adapter is not None
    if importlib.util.find_spec("peft") is None:
        raise NotFoundError(f"{source.name!r} is an adapter, which needs the package peft", "pip install peft")
    if not has_adapter_weights(source.adapter):  # PEFT would take the folder for a name on the hub
        raise NotFoundError(
            f"the adapter {source.name!r} has no weights", "adapter_model.safetensors belongs beside its config"
        )
    if read_adapter(source.adapter, source.name).get("megatron_config"):
        raise CannotTraceError(
            f"adapter {source.name!r} names a library of its own to run (megatron_core)", "merge it into its base first"
        )
    with explained(source, "adapter"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # advice between libraries
        from peft import PeftModel  # it takes seconds to import, and few models are adapters

        found: Any = PeftModel.from_pretrained(model, str(source.adapter)).get_base_model()
    adapted: PreTrainedModel = found.train(False)
    return adapted


def outside(name: str) -> CannotTraceError:
    """What is said of an adapter that is no part of the model's own layers."""
    return CannotTraceError(
        f"adapter {name!r} puts tokens of its own in front of every text, outside of the model",
        "a trace would show the model without them; adapters within its layers (LoRA) are traced",
    )


def check_inside(model: Any) -> None:
    """Refuse adapters of a PEFT model that are no part of the model's own layers."""
    for name in _names(model.active_adapter):
        if getattr(model.peft_config.get(name), "is_prompt_learning", False):
            raise outside(name)


def virtual_tokens(model: Any) -> int:
    """How many tokens of its own the adapter in force puts in front of every text; 0 where it puts none."""
    if not is_adapted(model):
        return 0
    active = [model.peft_config.get(name) for name in _names(model.active_adapter)]
    learned = [one for one in active if getattr(one, "is_prompt_learning", False)]
    return sum(int(getattr(one, "num_virtual_tokens", 0) or 0) for one in learned)


def adapters_in_force(model: PreTrainedModel) -> str:
    """A sentence on the adapters in force in a model's layers, empty where there are none."""
    active: dict[str, None] = {}
    for module in model.modules():
        if getattr(module, "disable_adapters", None) is False:  # PEFT's layers have it, True where they are off
            active |= dict.fromkeys(_names(getattr(module, "active_adapters", [])))
    named = ", ".join(map(printable, active))
    return f"with adapter{'s' if len(active) > 1 else ''} {named}" if named else ""


def is_adapted(model: Any) -> bool:
    """Whether this is PEFT's wrapper around a model."""
    return isinstance(getattr(model, "peft_config", None), Mapping) and hasattr(model, "get_base_model")


def tokenizer_folder(source: Source) -> Path:
    """Where the tokenizer of a source with an adapter lies: beside that, where it has its own."""
    own = source.adapter
    return own if own is not None and any(own.glob("tokenizer*")) else source.folder


def _names(active: str | list[str]) -> list[str]:
    return [active] if isinstance(active, str) else list(active)
