"""Which class a config stands for."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import ModuleType
from typing import Any

import transformers
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.models.auto.auto_factory import add_generation_mixin_to_remote_model

from maskviz.core.errors import CannotTraceError
from maskviz.core.panels.printable import printable
from maskviz.load.models.source import Source, explained
from maskviz.tracing.seam.auto_classes import classes_built_by

# The auto class of a model by what its name ends in; any other is the base model's.
_TASKS = {
    "ForCausalLM": "AutoModelForCausalLM",
    "LMHeadModel": "AutoModelForCausalLM",
    "ForMaskedLM": "AutoModelForMaskedLM",
    "ForConditionalGeneration": "AutoModelForSeq2SeqLM",
    "ForSequenceClassification": "AutoModelForSequenceClassification",
    "ForTokenClassification": "AutoModelForTokenClassification",
    "ForQuestionAnswering": "AutoModelForQuestionAnswering",
}


def architecture_of(source: Source, config: PreTrainedConfig) -> str:
    """Name of the class the config was saved from; where it does not say, of the language model a .gguf file holds,
    else of the base model; where no auto class knows the type, of the first model its own file has for it."""
    names = getattr(config, "architectures", None) or ()
    if names:
        return str(names[0])
    autos = (AutoModelForCausalLM, AutoModel) if source.gguf_file is not None else (AutoModel, AutoModelForCausalLM)
    for auto in autos:
        if known := classes_built_by(auto, config):
            return known[0].__name__
    own = _classes_for(config)
    return own[0].__name__ if own else autos[0].__name__


def model_class(source: Source, config: PreTrainedConfig) -> Any:
    """The class to build or load: of code that is trusted, as the config names it, from the config's own file, else
    AutoModel.

    Raises:
        MaskvizError: trusted code cannot be run, or has no such model.
    """
    reference = own_code(source, config)
    if source.trust_remote_code and reference is not None:
        return _class_of_code(source, reference)
    name = architecture_of(source, config)
    found = getattr(transformers, name, None) or getattr(_modeling_file(config), name, None)
    return found if isinstance(found, type) else AutoModel


def own_code(source: Source, config: PreTrainedConfig) -> str | None:
    """What the config calls its model in code that comes with it, such as `modeling_own.OwnModel`, or None: the class
    of the architecture, else that of the architecture's task, of the base model, or the only one."""
    listed = getattr(config, "auto_map", None)
    items = listed.items() if isinstance(listed, Mapping) else ()
    models = {
        auto: name
        for auto, name in items
        if isinstance(auto, str) and auto.startswith("AutoModel") and isinstance(name, str)
    }
    named = architecture_of(source, config)
    same = [name for name in models.values() if name.endswith(f".{named}")]
    task = next((auto for end, auto in _TASKS.items() if named.endswith(end)), "AutoModel")
    return next((one for one in (*same, models.get(task), models.get("AutoModel"), *models.values()) if one), None)


def file_of(reference: str) -> str:
    """The file a class of a model's own code is in, as a reader would look for it: `org/name--file.Class` names another
    repository's."""
    repository, _, name = reference.rpartition("--")
    file = f"{name.rpartition('.')[0] or name}.py"
    return printable(f"{file} of {repository}" if repository else file)


def _class_of_code(source: Source, reference: str) -> type[PreTrainedModel]:
    """Run the code a model comes with, and return its class; the caller has seen to it that the code is trusted."""
    location = str(source.folder) if source.folder.is_dir() else source.location
    where = {name: value for name, value in source.arguments.items() if name in ("revision", "local_files_only")}
    with explained(source, "code"):
        found = add_generation_mixin_to_remote_model(get_class_from_dynamic_module(reference, location, **where))
    if not (isinstance(found, type) and issubclass(found, PreTrainedModel)):
        raise CannotTraceError(
            f"{printable(reference)} in the code of {source.name!r} is no PreTrainedModel",
            "check auto_map in its config",
        )
    return found


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
