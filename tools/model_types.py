"""Every model type of the installed transformers that reads token ids, with the classes that could run it."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import transformers.models
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

# Which task's class is taken first: heads that generate or fill in, then the bare model, then any other.
_FIRST_TASKS = (
    "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING",
    "MODEL_FOR_MASKED_LM_MAPPING",
    "MODEL_FOR_CAUSAL_LM_MAPPING",
    "MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING",
    "MODEL_FOR_MULTIMODAL_LM_MAPPING",
    "MODEL_MAPPING",
)
_GENERATES = re.compile(r"ForCausalLM$|LMHeadModel$|ForConditionalGeneration$|WithLMHead$|ForVisionText2Text$")
_IMAGE, _AUDIO, _OTHER = "an image", "audio", "another model's states"
# Types whose classes take `input_ids`, but run only with something else beside them.
NEEDS_MORE: dict[str, str] = {
    **dict.fromkeys(("aimv2", "align", "altclip", "blip", "bridgetower", "chinese_clip", "clip", "clipseg"), _IMAGE),
    **dict.fromkeys(("groupvit", "idefics", "layoutlmv2", "lxmert", "metaclip_2", "owlv2", "owlvit", "siglip"), _IMAGE),
    **dict.fromkeys(("siglip2", "tvp", "vilt", "vision-text-dual-encoder", "xclip", "pe_video"), _IMAGE),
    **dict.fromkeys(("clap", "clvp", "pe_audio", "pe_audio_video", "voxtral_realtime"), _AUDIO),
    **dict.fromkeys(("cohere_asr", "dia_decoder", "t5gemma2_decoder", "gemma4_assistant"), _OTHER),
    **dict.fromkeys(("gemma4_unified_assistant", "blt_local_encoder", "blt_local_decoder"), _OTHER),
    **dict.fromkeys(("voxtral_realtime_text", "qwen3_omni_moe_talker_code_predictor"), _OTHER),
    "Qwen3OmniMoeCode2WavConfig": "embeddings: it refuses ids",
    "Qwen3OmniMoeTalkerConfig": _OTHER,
    "qwen3_omni_moe_talker_text": _OTHER,
    "blip-2": _IMAGE,
    "moonshine_streaming": _OTHER,
    "kyutai_speech_to_text": "audio codes beside each id",
    "moshi_depth": "no more places than it has codebooks",
    "jev": "options and their marks",
    "rag": "retrieved documents",
    "speecht5": "the spectrogram spoken so far",
}


@dataclass(frozen=True, slots=True)
class ModelType:
    """One type.

    Attributes:
        name: Its `model_type`.
        config_class: The class of its configs.
        model_classes: The classes whose forward takes `input_ids`, best first.
    """

    name: str
    config_class: type[PreTrainedConfig]
    model_classes: tuple[type[PreTrainedModel], ...]


@cache
def model_types() -> dict[str, ModelType]:
    """Every type with at least one class that takes `input_ids`, by name, sorted."""
    classes: dict[type[PreTrainedConfig], list[type[PreTrainedModel]]] = {}
    for model_class in _model_classes():
        if model_class.config_class is not None and _reads_ids(model_class):
            classes.setdefault(model_class.config_class, []).append(model_class)
    for config_class in {CONFIG_MAPPING[name] for name in CONFIG_MAPPING}:
        own = sorted(classes.get(config_class, []), key=_rank)
        ordered = sorted([*_of_tasks(config_class), *own], key=lambda one: one.config_class is not config_class)
        if ordered:
            classes[config_class] = list(dict.fromkeys(ordered))
    # A base class that other configs are made from is no type, such as Bark's.
    bases = {base for config_class in classes for base in config_class.__mro__[1:]}
    classes = {one: found for one, found in classes.items() if one.model_type or one not in bases}
    named = [ModelType(_name(config), config, tuple(found)) for config, found in classes.items()]
    return {one.name: one for one in sorted(named, key=lambda one: one.name)}


def generates(model_class: type[PreTrainedModel]) -> bool:
    """Whether a class writes text from left to right, so that its batches are padded on the left."""
    return bool(_GENERATES.search(model_class.__name__)) and "MaskedLM" not in model_class.__name__


def _name(config_class: type[PreTrainedConfig]) -> str:
    return str(config_class.model_type or config_class.__name__)


def _model_classes() -> list[type[PreTrainedModel]]:
    """Every model class of the library that has a forward of its own, in the order of its modules."""
    found = []
    for package in sorted(pkgutil.iter_modules(transformers.models.__path__), key=lambda one: one.name):
        folder = importlib.import_module(f"transformers.models.{package.name}")
        for module_info in sorted(pkgutil.iter_modules(getattr(folder, "__path__", [])), key=lambda one: one.name):
            if module_info.name.startswith("modeling_"):
                found += _classes_in(f"{folder.__name__}.{module_info.name}")
    return found


def _classes_in(name: str) -> list[type[PreTrainedModel]]:
    try:
        module = importlib.import_module(name)
    except ImportError:  # it needs a library that is not there, such as torchaudio
        return []
    return [
        one
        for one in vars(module).values()
        if inspect.isclass(one)
        and issubclass(one, PreTrainedModel)
        and one.__module__ == name
        and not one.__name__.endswith("PreTrainedModel")
    ]


def _reads_ids(model_class: type[PreTrainedModel]) -> bool:
    try:
        parameters = inspect.signature(model_class.forward).parameters
    except ImportError:  # a stand-in for a class whose library is not installed
        return False
    # Perceiver's one input, called "inputs", is token ids for its language model.
    main = getattr(model_class, "main_input_name", "input_ids")
    return "input_ids" in parameters and main in ("input_ids", "inputs")


def _of_tasks(config_class: type[PreTrainedConfig]) -> list[type[PreTrainedModel]]:
    """The classes of a type in the library's own auto mappings that read ids."""
    mappings: dict[str, Any] = {
        name: one for name, one in vars(modeling_auto).items() if type(one).__name__ == "_LazyAutoMapping"
    }
    found: list[type[PreTrainedModel]] = []
    for name in dict.fromkeys([*(one for one in _FIRST_TASKS if one in mappings), *sorted(mappings)]):
        try:
            known = mappings[name].get(config_class, None)
        except (ImportError, AttributeError, ValueError):  # named in a mapping, but not to be had
            continue
        candidates = known if isinstance(known, tuple | list) else (known,)
        found += [one for one in candidates if one is not None and _reads_ids(one)]
    return found


def _rank(model_class: type[PreTrainedModel]) -> int:
    """Classes without an auto mapping: those that generate first, then text models, then bare models."""
    name = model_class.__name__
    wanted = (_GENERATES, re.compile(r"ForMaskedLM$"), re.compile(r"TextModel$"), re.compile(r"Model$"))
    return next((place for place, pattern in enumerate(wanted) if pattern.search(name)), len(wanted))
