"""The rooms of a traced run introduced to each other: load, trace, analyse, store. Imports torch."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from maskviz.analyse.comparison import compare
from maskviz.analyse.user_mask import with_user_mask
from maskviz.cli.env import Env
from maskviz.cli.head_masks import parse_or_read_head_mask
from maskviz.conventions.files import read_mask
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.packing import crossing_of
from maskviz.core.results import Comparison, Proof
from maskviz.core.trace import Trace
from maskviz.core.words import CacheKind, Parallel, Stack
from maskviz.load.encode import Encoded, Request, encode
from maskviz.load.generate import continued
from maskviz.load.images import load_processor, read_image
from maskviz.load.labels import token_labels
from maskviz.load.model import Loaded, build_model, load_config, load_model, with_tokenizer
from maskviz.load.source import Source
from maskviz.load.stand_in import with_stand_ins
from maskviz.load.user_mask import given_mask
from maskviz.store.saved import Saved
from maskviz.trace.budget import check_fits
from maskviz.trace.calling import Calling
from maskviz.trace.positions import position_note
from maskviz.trace.prove import prove
from maskviz.trace.run import head_groups, head_shapes, run, run_gated


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


def loaded_by(env: Env, loading: Loading, request: Request) -> Loaded:
    """Load a model, or build it from its config; words of the request stand in where it has no tokenizer.

    Raises:
        UsageError: a model without weights of its own is to be spread.
    """
    for path in request.images:
        read_image(path)  # what is wrong with it is said before a model is loaded
    source = loading.source
    if loading.parallel is not None and (loading.seed is not None or source.config_only or not loading.weights):
        raise UsageError("--parallel spreads a model's own weights, and none are loaded", "leave out --parallel")
    env.progress(f"loading {source.name} ...")
    config = load_config(source)
    if loading.seed is not None:
        loaded = build_model(source, config, seed=loading.seed, device=loading.device)
    elif source.config_only or not loading.weights:
        loaded = build_model(source, config)
    else:
        loaded = load_model(source, config, device=loading.device, dtype=loading.dtype, parallel=loading.parallel)
    if request.images:
        loaded = replace(loaded, processor=load_processor(source, loaded))
    if loading.tokenizer is not None:
        return with_tokenizer(loaded, loading.tokenizer)
    return with_stand_ins(loaded, (*request.texts, *request.pairs, *request.targets))


@dataclass(frozen=True, slots=True)
class Feeding:
    """How the text is fed to the model.

    Attributes:
        past: Tokens that go into the cache first, or None.
        step: Tokens to generate, or None.
        cache: The kind of cache of either.
        mask: File of the user's own mask, or None.
    """

    past: int | None = None
    step: int | None = None
    cache: CacheKind = CacheKind.DYNAMIC
    mask: Path | None = None


def encoded_for(env: Env, loaded: Loaded, request: Request, feeding: Feeding) -> tuple[Encoded, Calling]:
    """Encode a request, and say in which parts it is fed.

    Raises:
        CannotTraceError: more past than there are tokens.
    """
    own = None if feeding.mask is None else read_mask(feeding.mask)
    if feeding.step is not None:
        check_fits(loaded.card, encode(loaded, request).batch)
        env.progress(f"generating {feeding.step} tokens ...")
        encoded, start = continued(loaded, request, feeding.step)
        generated = (encoded.batch.decoder or encoded.batch).length - start
        return encoded, Calling((start, *[1] * generated), 0, feeding.cache)
    encoded = encode(loaded, request)
    if own is not None:
        encoded = replace(encoded, user_mask=given_mask(loaded, encoded.batch, own))
    if feeding.past is None:
        return encoded, Calling()
    length = (encoded.batch.decoder or encoded.batch).length
    if feeding.past >= length:
        hint = f"give 1 to {length - 1}" if length > 2 else "give a longer text"
        raise CannotTraceError(f"--past {feeding.past} leaves none of the {length} tokens", hint)
    return encoded, Calling((feeding.past, length - feeding.past), 1, feeding.cache)


def traced(
    env: Env, loaded: Loaded, encoded: Encoded, head_mask: str | None, calling: Calling, most: int | None = None
) -> Saved:
    """Trace a batch; with a head mask, before and after. `most` is how many bytes its attention may take."""
    model, batch, card = loaded.model, encoded.batch, loaded.card
    given = encoded.user_mask
    inputs = encoded.inputs if given is None else {**encoded.inputs, "attention_mask": given.tensor}
    check_fits(card, batch, weightless=loaded.weightless, most=most)
    env.progress(f"running {card.architecture} on {batch.rows} x {batch.length} tokens ...")

    if given is None:
        trace = run(model, inputs, batch, card, calling)
    else:
        plain = run(model, encoded.inputs, batch, card, calling)
        trace = with_user_mask(run(model, inputs, batch, card, calling, like=plain), plain, given.visible)
    positions = () if calling.parts or loaded.invented else position_note(model, encoded.inputs, trace)
    of_mask = () if given is None else given.notes
    notes = (*loaded.notes, *encoded.notes, *of_mask, *positions, *_packing_notes(loaded, inputs, trace), *trace.notes)
    trace = replace(trace, notes=notes)
    if head_mask is None:
        return Saved(trace)
    if not trace.calls:
        raise UsageError(f"{card.architecture} has no attention to gate", "leave out --head-mask")
    mask = parse_or_read_head_mask(head_mask, head_shapes(trace), head_groups(trace))
    after = run_gated(model, inputs, trace, mask, calling)
    change = compare(trace, after)
    return Saved(after, trace, change, names_of(loaded, change))


def proven(env: Env, loaded: Loaded, encoded: Encoded, saved: Saved) -> Proof:
    """Check the masks of a run against what the model does without a head mask."""
    env.progress("proving the masks ...")
    given = encoded.user_mask
    inputs = encoded.inputs if given is None else {**encoded.inputs, "attention_mask": given.tensor}
    return prove(loaded.model, inputs, saved.before or saved.trace)


def _packing_notes(loaded: Loaded, inputs: dict[str, Any], trace: Trace) -> tuple[str, ...]:
    """Why packed texts are not separated: what the model does without a cache is tried, not assumed."""
    crossing = crossing_of(trace)
    if crossing is None or crossing.separated or "attention_mask" in inputs:
        return ()
    if trace.calls[0].stack is Stack.ENCODER:
        raise CannotTraceError(
            f"{trace.card.architecture} is an encoder: in one row all texts would see each other", "leave out --packed"
        )
    own = "this model does not tell packed texts apart by their positions"
    takes_cache = "use_cache" in inspect.signature(loaded.model.forward).parameters
    if not takes_cache or inputs.get("use_cache") is False:
        return (own,)
    without = crossing_of(run(loaded.model, {**inputs, "use_cache": False}, trace.batch, loaded.card))
    if without is not None and without.separated:
        return ("a cache exists, so the restarting positions are not looked at; --no-cache separates the texts",)
    return (f"{own}, with a cache or without",)


def names_of(loaded: Loaded, change: Comparison) -> dict[int, str]:
    """Printable tokens of the ids a comparison lists."""
    if change.labels:
        return {}
    listed = sorted({one.index for place in change.places for one in place.candidates})
    labels = token_labels(loaded.tokenizer, np.array([listed], dtype=np.int64))
    return dict(zip(listed, labels[0], strict=True))
