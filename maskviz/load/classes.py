"""Which class a config stands for."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import transformers
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from maskviz.load.source import Source


def architecture_of(source: Source, config: PreTrainedConfig) -> str:
    """Name of the class the config was saved from; where it does not say, of the language model a .gguf file holds,
    else of the base model; where no auto class knows the type, of the first model its own file has for it."""
    names = getattr(config, "architectures", None) or ()
    if names:
        return str(names[0])
    autos = (AutoModelForCausalLM, AutoModel) if source.gguf_file is not None else (AutoModel, AutoModelForCausalLM)
    for auto in autos:
        known: Any = auto._model_mapping.get(type(config), None)
        known = known[0] if isinstance(known, tuple) else known
        if known is not None:
            return str(known.__name__)
    own = _classes_for(config)
    return own[0].__name__ if own else autos[0].__name__


def model_class(source: Source, config: PreTrainedConfig) -> Any:
    """The class to build or load: as named, from code that is trusted, from the config's own file, else AutoModel."""
    name = architecture_of(source, config)
    custom = getattr(config, "auto_map", None) or {}
    if source.trust_remote_code and custom:
        for auto_name in custom:
            if auto_name.startswith("AutoModel") and custom[auto_name].endswith(f".{name}"):
                return getattr(transformers, auto_name)
    found = getattr(transformers, name, None) or getattr(_modeling_file(config), name, None)
    return found if isinstance(found, type) else AutoModel


def _classes_for(config: PreTrainedConfig) -> list[type[PreTrainedModel]]:
    """The models of a config's own file that are built from it, those that generate first."""
    names = vars(_modeling_file(config) or ModuleType("none")).values()
    models = [one for one in names if isinstance(one, type) and issubclass(one, PreTrainedModel)]
    own = [one for one in models if getattr(one, "config_class", None) is type(config)]
    fitting = [one for one in own if one.__name__.endswith(("ForCausalLM", "ForConditionalGeneration", "Model"))]
    return sorted(fitting, key=lambda one: (not one.__name__.endswith("ForCausalLM"), one.__name__))


def _modeling_file(config: PreTrainedConfig) -> ModuleType | None:
    name = type(config).__module__.replace(".configuration_", ".modeling_")
    try:
        return importlib.import_module(name)
    except ImportError:
        return None
