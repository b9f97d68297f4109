"""Models brought in: a name or a config becomes a live model with its tokenizer."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from logging import CRITICAL
from typing import Any

import huggingface_hub
import torch
import transformers
from transformers import AutoConfig, AutoTokenizer, PreTrainedConfig, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from maskviz.core.errors import (
    CannotTraceError,
    MaskvizError,
    NotFoundError,
    UsageError,
)
from maskviz.core.run.trace import ModelCard
from maskviz.core.words import DTYPES, Parallel
from maskviz.core.writing import nearest, parameter
from maskviz.load.models.adapters import adapters_in_force, tokenizer_folder, trained_for, with_adapter
from maskviz.load.models.card import card_of, model_class, of_building, of_checkpoint, quantisation_of
from maskviz.load.models.named_values import named_values
from maskviz.load.models.parallel import spreading
from maskviz.load.models.source import Source, explained, explanation, in_one_line
from maskviz.load.models.weights import with_random_weights, without_weights

# The deepest published models have a few hundred layers.
MOST_LAYERS = 10_000
_LAYERS = frozenset(
    {"num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers"}
    | {"num_encoder_layers", "num_decoder_layers"}
)
_EXPERTS = frozenset({"num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts", "num_routed_experts"})
# What a model cannot have none of, or less. Other numbers may be 0 or -1 to mean "none" or "the last".
_COUNTS = frozenset({"num_attention_heads", "n_head", "n_heads", "num_heads", "num_key_value_heads", "hidden_size"}) | {
    *("encoder_attention_heads", "decoder_attention_heads", "d_model", "n_embd", "vocab_size")
}
# Random weights are drawn one by one: more than these take minutes and most of a machine's memory.
_MOST_RANDOM = 2_000_000_000


def check_sizes(raw: Mapping[str, Any], name: str) -> None:
    """Refuse a config, as the dictionary in its file, that names an impossible number of layers, experts, heads or
    channels.

    Raises:
        CannotTraceError: it does.
    """
    for key, value in raw.items():
        if isinstance(value, Mapping):
            check_sizes(value, name)
        elif key in _LAYERS | _EXPERTS | _COUNTS and isinstance(value, float):
            raise CannotTraceError(f"the config of {name!r} names {key} {value}", "it must be a whole number")
        elif key in _COUNTS and isinstance(value, int) and value < 1:
            raise CannotTraceError(f"the config of {name!r} names {key} {value}", "it must be 1 or more")
        elif key in _EXPERTS and isinstance(value, int) and value < 0:
            raise CannotTraceError(f"the config of {name!r} names {key} {value}", "it must be 0 or more")
        elif key in _LAYERS and isinstance(value, int) and not 0 <= value <= MOST_LAYERS:
            raise CannotTraceError(
                f"the config of {name!r} names {key} {value}", f"maskviz builds models of up to {MOST_LAYERS:,} layers"
            )


def check_random_fits(model: torch.nn.Module, name: str) -> None:
    """Refuse random weights for a model too large to draw them for.

    Args:
        model: The model with its parameters on the meta device.
        name: What to call it.

    Raises:
        CannotTraceError: it is too large.
    """
    count = sum(parameter.numel() for parameter in model.parameters())
    if count > _MOST_RANDOM:
        raise CannotTraceError(
            f"{name!r} has {count / 1e9:.1f} billion parameters, random weights are drawn for up to 2 billion",
            f"{parameter('weights', False, shell='--no-weights')} shows its masks, exactly and in seconds",
        )


_TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges*", "*.model", "*.tiktoken", "*.spm")
_CONVERSION = "DISABLE_SAFETENSORS_CONVERSION"
_NO_WEIGHTS = "no weights: masks alone"
NO_FILE = "no weights file in the folder: masks alone"
_RANDOM = "the weights are random (seed {seed}): the masks are the model's, where its heads look means nothing"


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model ready to run.

    Attributes:
        model: On its device, in evaluation mode.
        tokenizer: None where the model comes without a usable one.
        card: What the model is.
        notes: What the reader must know.
        tokenizer_problem: Why there is no tokenizer, in the library's words.
        invented: Whether it has no weights, or random ones: then any ids will do for a text.
        longest_text: Tokens that sentence-transformers cuts its texts to, where it was saved by that; else None.
        processor: What makes inputs from text and images; None where none was asked for.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase | None
    card: ModelCard
    notes: tuple[str, ...] = ()
    tokenizer_problem: str = ""
    invented: bool = False
    longest_text: int | None = None
    processor: Any = None

    @property
    def weightless(self) -> bool:
        """Whether it has shapes and no numbers; accelerate (`_hf_hook`) brings numbers in as they are used."""
        return self.model.device.type == "meta" and not hasattr(self.model, "_hf_hook")

    @property
    def device(self) -> torch.device:
        """Where inputs go: without weights they are real, and on the CPU; accelerate moves them to where they go."""
        own: torch.device = self.model.device
        return torch.device("cpu") if own.type == "meta" else own


def load_config(source: Source) -> PreTrainedConfig:
    """Load a config.

    Raises:
        MaskvizError: it is not there, not readable, or needs code that is not trusted.
    """
    return read_config(source)[0]


def read_config(source: Source) -> tuple[PreTrainedConfig, dict[str, Any]]:
    """Load a config, and beside it the dictionary in its file, empty for a .gguf file; raises as `load_config`."""
    quiet()
    with explained(source, "config"):
        raw = {} if source.gguf_file else PreTrainedConfig.get_config_dict(source.location, **source.arguments)[0]
    if isinstance(raw, dict):  # what is no config at all is said below
        check_sizes(raw, source.name)
    try:
        config: PreTrainedConfig = AutoConfig.from_pretrained(source.location, **source.arguments)
    except Exception as error:
        raise explanation(source, "config", error, ", ".join(named_values(source, error))) from error
    config = config if source.adapter is None else trained_for(source, config)
    return config, raw if isinstance(raw, dict) else {}


def load_tokenizer(source: Source) -> tuple[PreTrainedTokenizerBase | None, str]:
    """Load a tokenizer; where the model comes without a usable one, return None and the reason."""
    quiet()
    folder = source.folder if source.adapter is None else tokenizer_folder(source)
    if folder.is_dir() and source.gguf_file is None and not any(any(folder.glob(name)) for name in _TOKENIZER_FILES):
        return None, "it has no tokenizer files"  # some releases of transformers make one up
    location = str(folder) if folder.is_dir() else source.location
    try:
        return AutoTokenizer.from_pretrained(location, **source.arguments), ""
    except Exception as error:  # as in `explained`: whatever it is, it is about the files
        return None, in_one_line(str(error))


def build_model(
    source: Source, config: PreTrainedConfig, *, seed: int | None = None, device: str = "cpu", tokenizer: bool = True
) -> Loaded:
    """Build a model from its config alone.

    Args:
        source: Where the config is from, and the tokenizer, if there is one.
        config: The config, as `load_config` returned it.
        seed: None builds a model without weights, for its masks; a number one with random weights.
        device: Where random weights go, as in `load_model`.
        tokenizer: Whether the tokenizer is wanted.

    Raises:
        MaskvizError: no model can be built from the config.
    """
    chosen_class = model_class(source, config)
    is_model = isinstance(chosen_class, type) and issubclass(chosen_class, PreTrainedModel)
    with explained(source, "class"):  # one whose library is not installed raises when it is touched
        build = getattr(chosen_class, "_from_config" if is_model else "from_config")
    place = _device(device)
    try:
        if seed is None:
            model = without_weights(build, config)
        else:
            check_random_fits(without_weights(build, config), source.name)
            model = with_random_weights(partial(build, dtype=torch.float32), config, seed).to(place)
    except MaskvizError:
        raise
    except Exception as error:  # a config is free text: any value in it may be absurd in any way
        raise _unbuildable(source, error) from error
    found, problem = load_tokenizer(source) if tokenizer else (None, "")
    without = NO_FILE if source.lacks_weights else _NO_WEIGHTS
    card = replace(_card(source, model), note=without if seed is None else f"RANDOM weights (seed {seed})")
    if seed is None:
        card = replace(card, device="", dtype="")
    notes = (*of_building(source, config, model, found), *(() if seed is None else (_RANDOM.format(seed=seed),)))
    return Loaded(model, found, card, notes, problem, invented=True)


def load_model(
    source: Source,
    config: PreTrainedConfig,
    *,
    device: str = "auto",
    dtype: str = "auto",
    parallel: Parallel | None = None,
) -> Loaded:
    """Load a model from safetensors or gguf weights, or from a pickle of tensors alone.

    Args:
        source: Where from.
        config: Its config, as `load_config` returned it.
        device: "auto" takes the accelerator torch finds, else the CPU; or a torch device.
        dtype: One of `core.words.DTYPES`; "auto" is float32 on the CPU and the checkpoint's own type elsewhere.
        parallel: How to spread the model, which chooses the devices; None puts it on one.

    Raises:
        MaskvizError: no weights, a pickle that holds more than tensors, an unknown class, device or
            type; a model that cannot be spread so.
    """
    place = _device(device)
    chosen = _dtype(dtype, place)
    chosen_class = model_class(source, config)
    spread: dict[str, Any] = {}
    asked = quantisation_of(config)
    if parallel is not None:
        if device != "auto":
            raise UsageError(
                f"{parameter('parallel')} chooses the devices, and {parameter('device', device)} is given",
                f"leave out {parameter('device')}",
            )
        spread = spreading(parallel, config, card_of(config, source.name, chosen_class.__name__))
    try:
        with explained(source, "weights"), _no_conversion():
            model, info = chosen_class.from_pretrained(
                source.location,
                config=config,
                dtype=chosen,
                output_loading_info=True,
                **source.arguments,
                **spread,
            )
    except MaskvizError:
        build_model(source, config, tokenizer=False)  # where that fails too, it is the config and not the weights
        raise
    if source.adapter is not None:
        model = with_adapter(source, model)
    try:
        model = (model if spread else model.to(place)).eval()
    except (RuntimeError, AssertionError) as error:
        raise CannotTraceError(
            f"the model does not go on {place}: {str(error).splitlines()[0]}", f"try {parameter('device', 'cpu')}"
        ) from error
    tokenizer, problem = load_tokenizer(source)
    notes = (*of_building(source, config, model, tokenizer), *of_checkpoint(info, asked, model))
    return Loaded(model, tokenizer, _card(source, model), notes, problem)


def _unbuildable(source: Source, error: Exception) -> CannotTraceError:
    """Why no model can be built from a config, with the values it is about."""
    named = ", ".join(named_values(source, error))
    if named and isinstance(error, KeyError):
        return CannotTraceError(
            f"the config of {source.name!r} says {named}, which transformers {transformers.__version__} does not know",
            "check its spelling, or install a newer transformers",
        )
    return CannotTraceError(
        f"no model can be built from the config of {source.name!r}: {in_one_line(str(error))}"
        + (f" (it says {named})" if named else ""),
        "check its values; 'maskviz info' lists the main ones",
    )


def with_tokenizer(loaded: Loaded, source: Source) -> Loaded:
    """A model with the tokenizer of another source.

    Raises:
        NotFoundError: there is none that can be used.
    """
    tokenizer, problem = load_tokenizer(source)
    if tokenizer is None:
        raise NotFoundError(f"no tokenizer in {source.name!r}: {problem}", "give a hub id or a folder that has one")
    return replace(loaded, tokenizer=tokenizer, notes=(*loaded.notes, f"the tokenizer is that of {source.name}"))


def quiet() -> None:
    """Keep transformers and the hub's client from writing advice, retries and progress between our own lines."""
    huggingface_hub.utils.logging.set_verbosity_error()
    transformers.utils.logging.set_verbosity(CRITICAL)  # what matters of an error is raised
    transformers.utils.logging.disable_progress_bar()


@contextmanager
def _no_conversion() -> Iterator[None]:
    """Keep transformers from asking the hub, in a thread, to make safetensors of a pickle that is loaded."""
    before = os.environ.get(_CONVERSION)
    os.environ[_CONVERSION] = "true"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CONVERSION]
        else:
            os.environ[_CONVERSION] = before


@contextmanager
def volume_kept() -> Iterator[None]:
    """What transformers and the hub's client say is afterwards what it was, whatever `quiet` did in the block."""
    own, hub = transformers.utils.logging, huggingface_hub.utils.logging
    before, of_hub, bar = own.get_verbosity(), hub.get_verbosity(), own.is_progress_bar_enabled()
    try:
        yield
    finally:
        own.set_verbosity(before)
        hub.set_verbosity(of_hub)
        if bar:
            own.enable_progress_bar()


def _device(name: str) -> torch.device:
    if name == "auto":
        found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return found or torch.device("cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise UsageError(
            f"device {name!r} cannot be used here: {str(error).splitlines()[0]}", f"try {parameter('device', 'auto')}"
        ) from error
    if device.type == "meta":
        raise UsageError("device 'meta' holds no numbers", f"try {parameter('device', 'auto')}")
    return device


def _dtype(name: str, device: torch.device) -> Any:
    if name not in DTYPES:
        close = nearest(name, DTYPES)
        raise UsageError(f"dtype {name!r} is not known", f"{close} choose one of {', '.join(DTYPES)}".strip())
    if name == "auto":
        return torch.float32 if device.type == "cpu" else "auto"
    return getattr(torch, name)


def _card(source: Source, model: PreTrainedModel) -> ModelCard:
    card = card_of(model.config, source.name, type(model).__name__)
    return replace(
        card,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        dtype=str(model.dtype).removeprefix("torch."),
        device=devices_of(model),
        note="a small demo model trained on generated sentences" if source.demo else adapters_in_force(model),
    )


def devices_of(model: PreTrainedModel) -> str:
    """The devices a spread model is on, such as "cuda:0, cuda:1, cpu"."""
    placed = getattr(model, "hf_device_map", None) or {"": model.device}
    names = dict.fromkeys(f"cuda:{place}" if isinstance(place, int) else str(place) for place in placed.values())
    return ", ".join(names)
