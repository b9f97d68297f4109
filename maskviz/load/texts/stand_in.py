"""Words that stand in for tokens where a model without weights comes without a tokenizer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedConfig, PreTrainedTokenizerFast

from maskviz.core.errors import UsageError
from maskviz.load.models.model import Loaded
from maskviz.load.texts.request import Request

_VOCABULARY = 10_000
NOTE = "no tokenizer: words stand in for tokens"


def stand_in_tokenizer(config: PreTrainedConfig, texts: Iterable[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """A tokenizer that makes every word of the texts one token, with ids that mean nothing else to the model.

    Args:
        config: The model's config; ids it gives a meaning to (padding, image tokens) are left out.
        texts: Every text that will be encoded.
        vocabulary: Ids the model has.

    Raises:
        UsageError: there are more words than ids.
    """
    words = list(dict.fromkeys(word for text in texts for word in text.split()))
    taken = _taken(config)
    ids = list(islice((index for index in range(vocabulary) if index not in taken), len(words)))
    if len(ids) < len(words):
        raise UsageError(f"the texts have {len(words)} different words, the model {len(ids)} ids", "give fewer words")
    made = Tokenizer(WordLevel(dict(zip(words, ids, strict=True)) or {"": 0}))
    made.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=made)


def _taken(config: PreTrainedConfig) -> set[int]:
    """Ids the config names, such as `pad_token_id` and `image_token_index`, its parts' included."""
    taken: set[int] = set()
    for name, value in config.to_dict().items():
        if isinstance(value, dict):
            taken |= {one for key, one in value.items() if _names_an_id(key) and isinstance(one, int)}
        elif _names_an_id(name):
            taken |= {one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)}
    return taken


def _names_an_id(name: Any) -> bool:
    return isinstance(name, str) and name.endswith(("_id", "_ids", "_token_index", "_token"))


def with_stand_ins(loaded: Loaded, texts: Sequence[str]) -> Loaded:
    """A model whose ids mean nothing and that has no tokenizer, with words in their place; any other as it is."""
    if loaded.tokenizer is not None or not loaded.invented or not any(texts):
        return loaded
    tokenizer = stand_in_tokenizer(loaded.model.config, texts, loaded.card.vocabulary or _VOCABULARY)
    return replace(loaded, tokenizer=tokenizer, notes=(*loaded.notes, NOTE))


def meaningless_request(loaded: Loaded, length: int) -> Request:
    """One row of ids, and one for the decoder where there is one, that mean nothing to the model's config.

    Args:
        loaded: A model without weights.
        length: Tokens in a row; fewer where the model has positions for fewer.
    """
    taken = _taken(loaded.model.config)
    free = list(islice((one for one in range(loaded.card.vocabulary or _VOCABULARY) if one not in taken), length))
    length = min(length, loaded.card.positions or length)
    ids = tuple(islice(cycle(free or [0]), length))
    return Request(ids=(ids,), target_ids=(ids,) if loaded.card.encoder_decoder else ())
