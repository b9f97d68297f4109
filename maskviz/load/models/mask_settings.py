"""What a config says of masks: whether tokens see later ones, and which windows it names."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from maskviz.core.checks.case import ModelFacts
from maskviz.load.models.card import text_part
from maskviz.load.models.model import Loaded
from maskviz.tracing.seam.implementations import implementation_of

# Classes that predict the next token, by the ends of their names.
_CAUSAL = ("ForCausalLM", "LMHeadModel")
# Also the classes that read pictures or sound beside a text and have no encoder of texts, if they generate.
_OF_SENSES = ("ForConditionalGeneration",)
_ONE_CLASS = "single_label_classification"
# And whose labels are ids of the vocabulary.
_OF_VOCABULARY = (*_CAUSAL, "ForMaskedLM", "ForConditionalGeneration", "ForPreTraining", "WithLMHead")


def facts_of(loaded: Loaded, raw: Mapping[str, Any]) -> ModelFacts:
    """Read what a model is said to be.

    Args:
        loaded: The model.
        raw: The dictionary in its config file: what the config's class makes of it is not what its author wrote.
    """
    config = loaded.model.config
    name = implementation_of(config)
    own = raw.get("text_config") if isinstance(raw.get("text_config"), dict) else raw
    kinds = own.get("layer_types") if isinstance(own, Mapping) else None
    used = own.get("use_sliding_window") if isinstance(own, Mapping) else None
    return ModelFacts(
        architecture=loaded.card.architecture,
        implementation=name,
        attention_registered=name == "eager" or name in ALL_ATTENTION_FUNCTIONS or name in AttentionInterface(),
        mask_registered=name in AttentionMaskInterface(),
        predicts_next=_predicts_next(loaded),
        layer_types=tuple(map(str, kinds)) if isinstance(kinds, list | tuple) else (),
        windows=claimed_windows(config, raw),
        use_sliding_window=used if isinstance(used, bool) else None,
        reads=_reads(loaded),
        classes=_classes(loaded),
        text_classes=_text_classes(loaded),
        asks_weights=getattr(config, "output_attentions", False) is True or raw.get("output_attentions") is True,
    )


def _reads(loaded: Loaded) -> tuple[str, ...]:
    """Arguments that the forward takes by name."""
    parameters = inspect.signature(loaded.model.forward).parameters
    return tuple(name for name, one in parameters.items() if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD))


def _classes(loaded: Loaded) -> int | None:
    """How many values a token's label may have."""
    name = loaded.card.architecture
    if name.endswith("ForTokenClassification"):
        return len(loaded.model.config.id2label or ())
    if loaded.card.encoder_decoder:  # the decoder of a translator may have a vocabulary of its own
        for own in ("tgt_vocab_size", "decoder_vocab_size"):
            if isinstance(size := getattr(loaded.model.config, own, None), int):
                return size
    return loaded.card.vocabulary if name.endswith(_OF_VOCABULARY) else None


def _text_classes(loaded: Loaded) -> int | None:
    """How many values a text's label may have, where it is one class of several."""
    config = loaded.model.config
    if not loaded.card.architecture.endswith("ForSequenceClassification"):
        return None
    count = len(config.id2label or ())
    return count if count > 1 and getattr(config, "problem_type", None) in (None, _ONE_CLASS) else None


def _generates(loaded: Loaded) -> bool:
    return bool(loaded.model.can_generate())


def _predicts_next(loaded: Loaded) -> bool:
    """Whether the class predicts the next token, and neither its caller (XLNet) nor its config (XLM) says that what a
    token sees is another matter."""
    name = loaded.card.architecture
    if loaded.card.encoder_decoder or not (
        name.endswith(_CAUSAL) or (_generates(loaded) and name.endswith(_OF_SENSES))
    ):
        return False
    if "perm_mask" in inspect.signature(loaded.model.forward).parameters:
        return False
    return getattr(text_part(loaded.model.config), "causal", None) is not False


# Names under which configs keep the reach of their local layers. Windows of audio and image encoders, and the chunks
# state-space layers are computed in, have other names or lie in other parts of a config.
_NAMES = re.compile(
    r"(sliding_windows?|sliding_window_size|(local_|attention_)?window_size|(local_)?attention_window(_len)?"
    r"|local_attention|attention_chunk_size|attn_window_size)$"
)
# And how many keys of each query a layer keeps that chooses them by their content.
_CHOICES = re.compile(r"(index_topk|keep_window_size)$")


def claimed_windows(config: PreTrainedConfig, raw: Mapping[str, Any]) -> dict[str, int]:
    """Windows and chunks a config names, by the name they have there, in tokens.

    Args:
        config: The config; what its class makes up for itself counts, too.
        raw: The dictionary in its file, which may name a window that its class drops.

    Returns:
        The largest number of each name, for the text part of a composite config and what it has at the top.
    """
    return _claims(_NAMES, config, raw)


def claimed_choices(config: PreTrainedConfig, raw: Mapping[str, Any]) -> dict[str, int]:
    """How many keys a config lets a query choose by their content, as `claimed_windows` names windows."""
    return _claims(_CHOICES, config, raw)


def _claims(pattern: re.Pattern[str], config: PreTrainedConfig, raw: Mapping[str, Any]) -> dict[str, int]:
    part = _name_of_text_part(config)
    found: dict[str, int] = {}
    for names in (raw, _as_dict(raw.get(part)), _own(config), _own(text_part(config))):
        for name, value in names.items():
            numbers = list(_numbers(value)) if pattern.match(str(name)) else []
            if numbers:
                found[str(name)] = max(*numbers, found.get(str(name), 0))
    return found


def unused_because(config: PreTrainedConfig, raw: Mapping[str, Any], layers: int) -> str:
    """What in a config keeps its layers from having the window it names, in words; "" where nothing does, so that the
    code of the model must be what does not read it."""
    part = text_part(config)
    if getattr(part, "use_sliding_window", None) is False:
        said = "says" if "use_sliding_window" in _said(config, raw) else "by default has"
        return f"the config {said} use_sliding_window: false"
    full = getattr(part, "max_window_layers", None)
    if isinstance(full, int) and full >= layers:
        own = "" if "max_window_layers" in _said(config, raw) else ", its default,"
        return f"max_window_layers is {full}{own} and there are {layers} layers"
    kinds = getattr(part, "layer_types", None)
    if isinstance(kinds, list | tuple) and kinds and set(map(str, kinds)) == {"full_attention"}:
        return "layer_types calls every layer full_attention"
    return ""


def _said(config: PreTrainedConfig, raw: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the config file itself says, of the part that reads text."""
    return {**raw, **_as_dict(raw.get(_name_of_text_part(config)))}


def with_numbers(config: PreTrainedConfig, names: Iterable[str], size: int) -> PreTrainedConfig:
    """A copy of a config in which every field of these names, of those it has, is `size`."""
    changed = copy.deepcopy(config)
    for part in {id(one): one for one in (changed, text_part(changed))}.values():
        for name in names:
            value = _own(part).get(name)
            if value is not None:
                setattr(part, name, [size] * len(value) if isinstance(value, list | tuple) else size)
    return changed


def _name_of_text_part(config: PreTrainedConfig) -> str:
    part = text_part(config)
    return next((name for name, value in vars(config).items() if value is part), "")


def _own(config: PreTrainedConfig) -> dict[str, Any]:
    return {name: value for name, value in vars(config).items() if not isinstance(value, PreTrainedConfig)}


def _as_dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _numbers(value: Any) -> Iterator[int]:
    for one in value if isinstance(value, list | tuple) else (value,):
        if isinstance(one, int) and not isinstance(one, bool) and one > 0:
            yield one
