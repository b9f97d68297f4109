"""What model is asked for, by name or at hand, and how it is brought in."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from maskviz.core.errors import NoWeightsError, UsageError
from maskviz.core.words import Parallel
from maskviz.core.writing import parameter
from maskviz.load.inputs.files import read_inputs
from maskviz.load.models.adapters import adapters_in_force, check_inside, is_adapted
from maskviz.load.models.card import card_of, max_seq_length
from maskviz.load.models.model import (
    NO_FILE,
    Loaded,
    build_model,
    devices_of,
    load_config,
    load_model,
    load_tokenizer,
    with_tokenizer,
)
from maskviz.load.models.source import Source, read_once, resolve
from maskviz.load.texts.images import load_processor, read_image
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


@dataclass(frozen=True, slots=True)
class Loading:
    """What model is asked for.

    Attributes:
        source: Where from.
        weights: Whether its own weights are wanted; where there are none, it is built without.
        seed: Of random weights instead, or None.
        tokenizer: Where another tokenizer is from, or None.
        device, dtype, parallel: As `load_model` takes them.
    """

    source: Source
    weights: bool = True
    seed: int | None = None
    tokenizer: Source | None = None
    device: str = "auto"
    dtype: str = "auto"
    parallel: Parallel | None = None


def bring_in(loading: Loading, request: Request) -> Loaded:
    """Load a model, or build it from its config; words of the request stand in where it has no tokenizer.

    Raises:
        MaskvizError: what is asked for is not there, or does not go together.
    """
    for path in request.images:
        read_image(path)  # what is wrong with it is said before a model is loaded
    if request.inputs is not None:
        read_inputs(request.inputs)
    source = loading.source
    if loading.parallel is not None and (loading.seed is not None or source.config_only or not loading.weights):
        why = NO_FILE if loading.seed is None and source.lacks_weights else ""
        raise NoWeightsError(
            f"{parameter('parallel')} spreads a model's own weights", why, f"leave out {parameter('parallel')}"
        )
    with read_once(source.gguf_file):
        loaded = _built_or_loaded(loading)
    if request.images:
        loaded = replace(loaded, processor=load_processor(source, loaded))
    if loading.tokenizer is not None:
        return with_tokenizer(loaded, loading.tokenizer)
    if loaded.tokenizer is not None:
        loaded = replace(loaded, longest_text=max_seq_length(source))
    return with_stand_ins(loaded, (*request.texts, *request.pairs, *request.targets))


def _built_or_loaded(loading: Loading) -> Loaded:
    source = loading.source
    config = load_config(source)
    if loading.seed is not None:
        return build_model(source, config, seed=loading.seed, device=loading.device)
    if not loading.weights:
        return build_model(source, config)
    if source.config_only:
        built = build_model(source, config)
        return replace(built, notes=(*built.notes, source.not_read)) if source.not_read else built
    return load_model(source, config, device=loading.device, dtype=loading.dtype, parallel=loading.parallel)


# What wraps a model and holds it: torch.compile, DataParallel and its like.
_WRAPPERS = ("_orig_mod", "module")


def loaded_object(model: Any, tokenizer: PreTrainedTokenizerBase | None) -> Loaded:
    """A model object as it is, ready to be run; it is neither moved nor changed.

    Adapters of PEFT that live inside the model's layers (LoRA and its like) run with it, active or not as they are.

    Args:
        model: A `PreTrainedModel`, or one inside `torch.compile`, `DataParallel` or a `PeftModel`.
        tokenizer: Its tokenizer; None looks for one where the model says it came from, on this machine alone.

    Raises:
        UsageError: it is no such model.
        CannotTraceError: its adapter adds tokens in front of every text, outside of the model.
    """
    own = _unwrapped(model)
    card = card_of(own.config, _name(own), type(own).__name__)
    card = replace(
        card,
        parameters=sum(parameter.numel() for parameter in own.parameters()),
        dtype=str(own.dtype).removeprefix("torch."),
        device=devices_of(own),
        note=adapters_in_force(own),
    )
    found, problem = (tokenizer, "") if tokenizer is not None else _tokenizer_of(own)
    loaded = Loaded(own, found, card, tokenizer_problem=problem)
    return replace(loaded, invented=True) if loaded.weightless else loaded


def _unwrapped(model: Any) -> PreTrainedModel:
    """The model inside of what wraps it."""
    while not isinstance(model, PreTrainedModel):
        if is_adapted(model):
            check_inside(model)
            model = model.get_base_model()
            continue
        held = [getattr(model, name, None) for name in _WRAPPERS]
        inner = next((one for one in held if isinstance(one, torch.nn.Module)), None)
        if inner is None:
            raise UsageError(
                f"a {type(model).__name__} is no model of transformers", "give a PreTrainedModel, or the name of one"
            )
        model = inner
    return model


def _name(model: PreTrainedModel) -> str:
    return str(getattr(model, "name_or_path", "") or getattr(model.config, "name_or_path", "") or type(model).__name__)


def _tokenizer_of(model: PreTrainedModel) -> tuple[PreTrainedTokenizerBase | None, str]:
    """The tokenizer beside a model's weights, if they lie on this machine."""
    name = str(getattr(model, "name_or_path", "") or "")
    if not name:
        return None, "the model does not say where it came from"
    try:
        source = resolve(name, offline=True)
    except Exception as error:  # a name is free text
        return None, str(error)
    return load_tokenizer(source)
