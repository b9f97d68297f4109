"""A run that is asked for: what model, what it is given and how, and the run made ready. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from maskviz.api.watcher import Watcher
from maskviz.conventions.files import read_mask
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.parameters import either, parameter
from maskviz.core.words import CacheKind
from maskviz.load.inputs.forward_inputs import encoded_inputs, encoded_of
from maskviz.load.inputs.user_mask import given_mask
from maskviz.load.models.live import loaded_object
from maskviz.load.models.loading import Loading, bring_in
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded, Request, encode, without_cache
from maskviz.load.texts.generate import continued
from maskviz.tracing.budget import check_fits
from maskviz.tracing.calling import Calling


@dataclass(frozen=True, slots=True, eq=False)
class Live:
    """A model that somebody has at hand.

    Attributes:
        model: The model of transformers, bare or wrapped.
        tokenizer: Its tokenizer, or None.
    """

    model: Any
    tokenizer: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Feeding:
    """How the text is fed to the model.

    Attributes:
        past: Tokens that go into the cache first, or None.
        step: Tokens to generate, or None.
        cache: The kind of cache of either.
        mask: The user's own mask, or the file of one, or None.
    """

    past: int | None = None
    step: int | None = None
    cache: CacheKind = CacheKind.DYNAMIC
    mask: Path | torch.Tensor | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """One run that is asked for.

    Attributes:
        model: What model, by name or at hand.
        request: What is to be encoded.
        feeding: How it is fed to the model.
        arguments: The arguments of the model's forward, in place of what is to be encoded; or None.
        tokenizer: A tokenizer at hand for a model by name, or None.
    """

    model: Loading | Live
    request: Request = field(default_factory=Request)
    feeding: Feeding = field(default_factory=Feeding)
    arguments: Mapping[str, Any] | None = None
    tokenizer: Any = None


@dataclass(frozen=True, slots=True, eq=False)
class Ready:
    """A model with its inputs.

    Attributes:
        loaded: The model.
        encoded: What goes in.
        calling: In which parts.
    """

    loaded: Loaded
    encoded: Encoded
    calling: Calling


def loaded_for(watcher: Watcher, asked: Asked) -> Loaded:
    """Bring in the model that is asked for, and say so where somebody watches.

    Raises:
        MaskvizError: as `bring_in` and `loaded_object`.
    """
    if isinstance(asked.model, Live):
        return loaded_object(asked.model.model, asked.model.tokenizer)
    watcher.say_releases()
    watcher.progress(f"loading {asked.model.source.name} ...")
    if asked.tokenizer is None:
        return bring_in(asked.model, asked.request)
    return replace(bring_in(asked.model, Request()), tokenizer=asked.tokenizer, tokenizer_problem="")


def ready(watcher: Watcher, asked: Asked, *, proving: bool = False) -> Ready:
    """Load the model, encode what it is given, and say in which parts it is fed.

    Args:
        watcher: Who is told.
        asked: What is asked for.
        proving: Whether the masks are to be proven, which goes with no text in parts.

    Raises:
        MaskvizError: something is not there, or does not go together.
    """
    check_feeding(asked.feeding, asked.request, proving=proving)
    loaded = loaded_for(watcher, asked)
    encoded, calling = encoded_for(watcher, loaded, asked)
    return Ready(loaded, encoded, calling)


def check_feeding(feeding: Feeding, request: Request, *, proving: bool = False) -> None:
    """Refuse ways of feeding that do not go together.

    Raises:
        UsageError: two of them are given.
    """
    if feeding.past is not None and feeding.step is not None:
        raise UsageError(
            f"{parameter('past')} and {parameter('step')} are given together",
            f"{parameter('step')} keeps the whole text in the cache already",
        )
    if feeding.past is None and feeding.step is None:
        if feeding.cache is CacheKind.STATIC:
            raise UsageError(
                f"{parameter('cache', 'static')} is of {parameter('past')} and {parameter('step')}", "add one of them"
            )
        return
    in_parts = "past" if feeding.past is not None else "step"
    others = {
        "no_cache": request.no_cache,
        "packed": request.packed,
        "mask": feeding.step is not None and feeding.mask is not None,
        "image": request.images,
        "inputs": request.inputs,
        "prove": proving,
    }
    for name, given in others.items():
        if given:
            raise UsageError(f"{parameter(in_parts)} and {parameter(name)} are given together", "give one or the other")


def encoded_for(watcher: Watcher, loaded: Loaded, asked: Asked) -> tuple[Encoded, Calling]:
    """Encode what is asked for, and say in which parts it is fed.

    Raises:
        CannotTraceError: more past than there are tokens.
    """
    request, feeding = asked.request, asked.feeding
    if feeding.step is not None:
        check_fits(loaded.card, encode(loaded, request).batch)
        watcher.progress(f"generating {feeding.step} tokens ...")
        encoded, start = continued(loaded, request, feeding.step)
        generated = (encoded.batch.decoder or encoded.batch).length - start
        return encoded, Calling((start, *[1] * generated), 0, feeding.cache)
    encoded = _encoded(loaded, asked)
    length = (encoded.batch.decoder or encoded.batch).length
    if feeding.past is not None and feeding.past >= length:
        hint = f"give 1 to {length - 1}" if length > 2 else "give a longer text"
        raise CannotTraceError(f"{parameter('past', feeding.past)} leaves none of the {length} tokens", hint)
    if feeding.mask is not None:
        own = read_mask(feeding.mask) if isinstance(feeding.mask, Path) else feeding.mask
        encoded = replace(encoded, user_mask=given_mask(loaded, encoded.batch, own, feeding.past or 0))
    if feeding.past is None:
        return encoded, calling_of(encoded)
    return encoded, Calling((feeding.past, length - feeding.past), 1, feeding.cache)


def calling_of(encoded: Encoded) -> Calling:
    """How a batch is fed to the model: at once, behind a cache of somebody's own if its inputs have one."""
    if not encoded.past:
        return Calling()
    length = (encoded.batch.decoder or encoded.batch).length
    return Calling((encoded.past, length - encoded.past), 1, filled=True)


def _encoded(loaded: Loaded, asked: Asked) -> Encoded:
    if asked.arguments is not None:
        encoded = encoded_inputs(loaded, asked.arguments)
        without = without_cache(loaded) if asked.request.no_cache else {}
        return replace(encoded, inputs=encoded.inputs | without) if without else encoded
    if asked.request.texts and loaded.tokenizer is None and isinstance(asked.model, Live):
        raise UsageError(
            f"there is no tokenizer for the text: {loaded.tokenizer_problem}",
            either("give tokenizer=..., or ids=[[5, 17, 3]] instead of a text", "give --ids instead of a text"),
        )
    return encoded_of(loaded, asked.request)
