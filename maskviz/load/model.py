"""A source becomes a live model on a device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from logging import CRITICAL
from pathlib import Path
from typing import Any

import huggingface_hub
import torch
import transformers
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedConfig, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.trace import ModelCard
from maskviz.load.card import card_of
from maskviz.load.source import Source, explained, in_one_line

_TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges*", "*.model", "*.tiktoken", "*.spm")
DTYPES = ("auto", "float32", "float16", "bfloat16")


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model ready to run.

    Attributes:
        model: On its device, in evaluation mode.
        tokenizer: None where the model comes without a usable one.
        card: What the model is.
        notes: What the reader must know.
        tokenizer_problem: Why there is no tokenizer, in the library's words.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    card: ModelCard
    notes: tuple[str, ...] = ()
    tokenizer_problem: str = ""


def load_config(source: Source) -> PreTrainedConfig:
    """Load a config.

    Raises:
        MaskvizError: it is not there, not readable, or needs code that is not trusted.
    """
    quiet()
    with explained(source, "config"):
        config: PreTrainedConfig = AutoConfig.from_pretrained(source.location, **source.arguments)
    return config


def load_tokenizer(source: Source) -> tuple[PreTrainedTokenizerBase | None, str]:
    """Load a tokenizer; where the model comes without a usable one, return None and the reason."""
    quiet()
    folder = Path(source.location)
    if folder.is_dir() and source.gguf_file is None and not any(any(folder.glob(name)) for name in _TOKENIZER_FILES):
        return None, "it has no tokenizer files"  # some releases of transformers make one up
    try:
        return AutoTokenizer.from_pretrained(source.location, **source.arguments), ""
    except Exception as error:  # as in `explained`: whatever it is, it is about the files
        return None, in_one_line(str(error))


def load_model(source: Source, config: PreTrainedConfig, *, device: str = "auto", dtype: str = "auto") -> Loaded:
    """Load a model from safetensors or gguf weights.

    Args:
        source: Where from.
        config: Its config, as `load_config` returned it.
        device: "auto" takes the accelerator torch finds, else the CPU; or a torch device.
        dtype: One of `DTYPES`; "auto" is float32 on the CPU and the checkpoint's own type elsewhere.

    Raises:
        MaskvizError: no weights, a pickle, an unknown class, device or type.
    """
    place = _device(device)
    chosen = _dtype(dtype, place)
    model_class = _model_class(source, config)
    with explained(source, "weights"):
        model, info = model_class.from_pretrained(
            source.location,
            config=config,
            dtype=chosen,
            use_safetensors=None if source.gguf_file else True,
            output_loading_info=True,
            **source.arguments,
        )
    try:
        model = model.to(place).eval()
    except (RuntimeError, AssertionError) as error:
        raise CannotTraceError(
            f"the model does not go on {place}: {str(error).splitlines()[0]}", "try --device cpu"
        ) from error
    tokenizer, problem = load_tokenizer(source)
    notes = (*_class_note(source, config, model), *_notes(info))
    return Loaded(model, tokenizer, _card(source, model), notes, problem)


def quiet() -> None:
    """Keep transformers and the hub's client from writing advice, retries and progress between our own lines."""
    huggingface_hub.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity(CRITICAL)  # what matters of an error is raised
    transformers.utils.logging.disable_progress_bar()


def architecture_of(source: Source, config: PreTrainedConfig) -> str:
    """Name of the class the config was saved from; where it does not say, of the language model a .gguf file holds,
    else of the base model."""
    names = getattr(config, "architectures", None) or ()
    if names:
        return str(names[0])
    auto = AutoModelForCausalLM if source.gguf_file is not None else AutoModel
    known = auto._model_mapping.get(type(config), None)
    return str(getattr(known, "__name__", auto.__name__))


def _model_class(source: Source, config: PreTrainedConfig) -> Any:
    name = architecture_of(source, config)
    custom = getattr(config, "auto_map", None) or {}
    if source.trust_remote_code and custom:
        for auto_name in custom:
            if auto_name.startswith("AutoModel") and custom[auto_name].endswith(f".{name}"):
                return getattr(transformers, auto_name)
    return getattr(transformers, name, AutoModel)


def _device(name: str) -> torch.device:
    if name == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(
            f"device {name!r} cannot be used here: {str(error).splitlines()[0]}", "try --device auto"
        ) from error
    if device.type == "meta":
        raise UsageError("device 'meta' holds no numbers", "try --device auto")
    return device


def _dtype(name: str, device: torch.device) -> Any:
    if name not in DTYPES:
        raise UsageError(f"dtype {name!r} is not known", f"choose one of {', '.join(DTYPES)}")
    if name == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    return getattr(torch, name)


def _card(source: Source, model: PreTrainedModel) -> ModelCard:
    card = card_of(model.config, source.name, type(model).__name__)
    return replace(
        card,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=str(model.dtype).removeprefix("torch."),
        device=str(model.device),
        note="a small demo model trained on generated sentences" if source.demo else "",
    )


def _class_note(source: Source, config: PreTrainedConfig, model: PreTrainedModel) -> tuple[str, ...]:
    named, built = architecture_of(source, config), type(model).__name__
    if named in (built, "AutoModel"):
        return ()
    return (f"the config names {named}, which this transformers does not have; {built} runs instead, without its head",)


def _notes(info: dict[str, Any]) -> tuple[str, ...]:
    missing = sorted(info.get("missing_keys") or ())
    if not missing:
        return ()
    named = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
    return (f"{len(missing)} weights are not in the checkpoint and are random: {named}",)
