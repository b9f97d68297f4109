"""What a reader must know of how a model came to be: what was not run, not read, or is not what its config names."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from maskviz.core.panels.printable import printable
from maskviz.core.parameters import parameter
from maskviz.load.models.card import text_part
from maskviz.load.models.classes import architecture_of, file_of, own_code
from maskviz.load.models.source import Source


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
