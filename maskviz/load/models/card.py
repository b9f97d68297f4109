"""What a model is, in the words of its config: its class, its card, and what there is to remark."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import transformers
from transformers import AutoModel, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.models.auto.auto_factory import add_generation_mixin_to_remote_model
from transformers.tokenization_utils_base import PreTrainedTokenizerBase
from transformers.utils.hub import cached_file

from maskviz.core.errors import CannotTraceError
from maskviz.core.run.trace import CHUNKS, SLIDING, ModelCard
from maskviz.core.writing import parameter, printable
from maskviz.load.models.folders import read_json
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


_HEADS = ("num_attention_heads", "n_head", "n_heads", "num_heads", "encoder_attention_heads")
_LAYERS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers")
_KEY_HEADS = ("num_key_value_heads", "num_kv_heads", "n_head_kv")
_WIDTH = ("hidden_size", "d_model", "n_embd", "dim")


def card_of(config: PreTrainedConfig, name: str, architecture: str) -> ModelCard:
    """Return what a config says of its model; what it does not say is None or left out, never guessed.

    For a composite config (an image-text model) the text part is meant.
    """
    text = text_part(config)
    encoder_decoder = bool(getattr(config, "is_encoder_decoder", False))
    layers, heads = _number(text, _LAYERS), _number(text, _HEADS)
    all_layers, all_heads = [layers], [heads]
    halves = [_read(config, "encoder"), _read(config, "decoder")]
    if encoder_decoder and all(isinstance(half, PreTrainedConfig) for half in halves):
        all_layers = [_number(half, _LAYERS) for half in halves]
        all_heads = [_number(half, _HEADS) for half in halves]
    elif encoder_decoder:
        all_layers.append(_number(text, ("decoder_layers", "num_decoder_layers")) or layers)
        all_heads.append(_number(text, ("decoder_attention_heads",)) or heads)
    key_heads = [_key_heads(text) or count for count in all_heads]
    return ModelCard(
        name=name,
        architecture=architecture,
        model_type=str(config.model_type),
        encoder_decoder=encoder_decoder,
        layers=tuple(count for count in all_layers if count),
        heads=tuple(count for count in all_heads if count),
        key_heads=tuple(count for count in key_heads if count),
        hidden_size=_number(text, _WIDTH),
        vocabulary=_number(text, ("vocab_size",)),
        positions=_number(text, ("max_position_embeddings",)),
        attention=layer_kinds(text, layers or 0),
    )


def text_part(config: PreTrainedConfig) -> PreTrainedConfig:
    """The part of a composite config that reads text; the config itself where there is none, or more than one."""
    try:
        part: PreTrainedConfig = config.get_text_config()
    except (AttributeError, ValueError):
        return config
    return part


def layer_kinds(config: PreTrainedConfig, layers: int) -> tuple[str, ...]:
    """One description per layer, such as "full" or "sliding window 4096", as the config words it.

    A config that names neither kinds of layers nor a window gets "no window named". This is the
    config's claim. What a layer really sees is what `show` traces.
    """
    kinds = _read(config, "layer_types")
    if not isinstance(kinds, list | tuple) or len(kinds) != layers:
        window = _number(config, ("sliding_window",))
        used = _read(config, "use_sliding_window")
        local = window and used is not False
        kinds = ["sliding_attention" if local else "no_window_named"] * layers
    return tuple(_described(str(kind), config) for kind in kinds)


def head_width(config: PreTrainedConfig) -> int | None:
    """Width of a head as the config says it; None where queries and values, or layers, differ in it.

    For a composite config (an image-text model) the text part is meant.
    """
    text = text_part(config)
    if any(_number(text, (name,)) for name in ("v_head_dim", "qk_rope_head_dim", "global_head_dim")):
        return None
    heads, width = _number(text, _HEADS), _number(text, _WIDTH)
    divided = width // heads if heads and width and width % heads == 0 else None
    return _number(text, ("head_dim", "d_kv", "attention_head_dim")) or divided


def _described(kind: str, config: PreTrainedConfig) -> str:
    plain = kind.removesuffix("_attention")
    if plain == "sliding":
        window = _number(config, ("sliding_window", "local_attention"))
        return f"{SLIDING} {window}" if window else SLIDING
    if plain == "chunked":
        return f"{CHUNKS} {_number(config, ('attention_chunk_size',))}"
    return plain.replace("_", " ")


def _key_heads(config: PreTrainedConfig) -> int | None:
    if _read(config, "multi_query") is True and not _read(config, "new_decoder_architecture"):
        return 1
    mapped = getattr(config, "attribute_map", {})  # of Whisper: to the heads of its encoder
    return _number(config, tuple(name for name in _KEY_HEADS if mapped.get(name) not in _HEADS))


def _number(config: PreTrainedConfig, names: tuple[str, ...]) -> int | None:
    for name in names:
        value = _read(config, name)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return None


def _read(config: PreTrainedConfig, name: str) -> Any:
    # Some per-layer attributes of heterogeneous configs raise when read at the top.
    try:
        return getattr(config, name, None)
    except Exception:
        return None


def of_building(
    source: Source, config: PreTrainedConfig, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase | None
) -> tuple[str, ...]:
    """Sentences on what the name was taken for, on the class of the model and on code that comes with it."""
    remark = (source.remark,) if source.remark else ()
    return (*remark, *_of_class(source, config, model), *_of_tokenizer(source, tokenizer))


def of_checkpoint(info: dict[str, Any], asked: str, model: PreTrainedModel) -> tuple[str, ...]:
    """Sentences on weights that were loaded.

    Args:
        info: What `from_pretrained` says of loading.
        asked: The quantisation the config names, as `quantisation_of` said before loading.
        model: What came of it.
    """
    missing = sorted(info.get("missing_keys") or ())
    said = []
    if missing:
        named = ", ".join(missing[:3]) + (", ..." if len(missing) > 3 else "")
        said.append(f"{len(missing)} weights are not in the checkpoint and are random: {named}")
    if asked and getattr(model, "hf_quantizer", None) is None:
        kind = str(model.dtype).removeprefix("torch.")
        said.append(f"the config names {asked} quantization; here the weights are not quantized and run as {kind}")
    return tuple(said)


def quantisation_of(config: PreTrainedConfig) -> str:
    """The kind of quantisation a config names, empty where it names none; loading takes it out of the config."""
    for part in (config, text_part(config)):
        named = getattr(part, "quantization_config", None)
        kind = named.get("quant_method") if isinstance(named, dict) else getattr(named, "quant_method", None)
        if kind:
            return printable(str(getattr(kind, "value", kind)))
    return ""


def _of_class(source: Source, config: PreTrainedConfig, model: PreTrainedModel) -> tuple[str, ...]:
    named, built = architecture_of(source, config), type(model).__name__
    code = own_code(source, config)
    if code is not None and source.trust_remote_code:
        return () if named == built else (f"the config names {named}; {built} of {file_of(code)} runs",)
    if code is not None:
        return (
            f"{file_of(code)}, which comes with the model, was not run: {built} is transformers' own, and its masks "
            f"may be others; {parameter('trust_remote_code', True)} runs the model's own code",
        )
    if named in (built, "AutoModel"):
        return ()
    return (f"the config names {named}, which this transformers does not have; {built} runs instead, without its head",)


def _of_tokenizer(source: Source, tokenizer: PreTrainedTokenizerBase | None) -> tuple[str, ...]:
    """Code of a tokenizer that was not run: transformers then makes one of its own from the same files."""
    listed = getattr(tokenizer, "init_kwargs", {}).get("auto_map")
    name = listed.get("AutoTokenizer") if isinstance(listed, dict) else None
    names = [one for one in (name if isinstance(name, list | tuple) else [name]) if isinstance(one, str)]
    if not names or source.trust_remote_code:
        return ()
    return (
        f"{file_of(names[0])}, the tokenizer that comes with the model, was not run: {type(tokenizer).__name__} is "
        f"transformers' own, and its tokens may be others; {parameter('trust_remote_code', True)} runs it",
    )


# The names sentence-transformers looks for, the newest first.
_KINDS = ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
_CONFIGS = tuple(f"sentence_{kind}_config.json" for kind in _KINDS)


def max_seq_length(source: Source) -> int | None:
    """Tokens sentence-transformers cuts a text to, special ones included; None where it does not say."""
    if source.demo or source.gguf_file is not None or source.adapter is not None:
        return None
    for file in _files(source):
        said = read_json(file)
        longest = said.get("max_seq_length") if isinstance(said, dict) else None
        if isinstance(longest, int) and not isinstance(longest, bool) and longest > 0:
            return longest
    return None


def _files(source: Source) -> list[Path]:
    if source.folder.is_dir():
        return [file for name in _CONFIGS if (file := source.folder / name).is_file()]
    try:  # one file of the hub's: it is there, or this is no model of sentence-transformers
        arguments = {name: value for name, value in source.arguments.items() if name != "trust_remote_code"}
        found = cached_file(source.location, _CONFIGS[0], _raise_exceptions_for_missing_entries=False, **arguments)
    except Exception:  # as with a tokenizer: whatever it is, it is about the files
        return []
    return [Path(found)] if found else []
