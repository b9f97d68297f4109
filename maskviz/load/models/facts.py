"""What a config and a class say of a model, for rules that hold it against what the model does."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from transformers import AttentionInterface, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from maskviz.core.checks.behaviour import ModelFacts
from maskviz.load.models.card import text_part
from maskviz.load.models.model import Loaded
from maskviz.load.models.windows import claimed_windows
from maskviz.tracing.seam.implementation import implementation_of

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
