"""A run that is asked for, made ready, and made: with heads silenced, proven, handed to a backend. Imports torch."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.analyse.comparison import compare
from maskviz.analyse.user_mask import with_user_mask
from maskviz.api.runs.head_masks import Gates, head_mask_for
from maskviz.api.runs.own import Own, OwnReady, own_ready, own_traced
from maskviz.api.watcher import Watcher
from maskviz.conventions.files import read_mask
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.panels.page import Panel
from maskviz.core.results.results import Comparison, Proof
from maskviz.core.run.handover import handed_groups
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import Trace, crossing_of
from maskviz.core.words import Backend, CacheKind, Stack
from maskviz.core.writing import either, parameter
from maskviz.load.inputs.forward_inputs import encoded_inputs, encoded_of
from maskviz.load.inputs.user_mask import given_mask
from maskviz.load.models.loading import Loading, bring_in, loaded_object
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded, Request, encode, token_labels, without_cache
from maskviz.load.texts.generate import continued
from maskviz.load.texts.request import on_text_alone
from maskviz.store.saved import Saved
from maskviz.tracing.backends.handing import hand_over
from maskviz.tracing.calling import Calling, MaskBehind, check_fits
from maskviz.tracing.experiments.prove import prove
from maskviz.tracing.meaning.evidence import position_note
from maskviz.tracing.meaning.hearing import towers_of
from maskviz.tracing.run import head_groups, head_shapes, run, run_gated
from maskviz.view.choosing import Choice
from maskviz.view.masks.handover import hand_over_panels


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
        model: What model, by name or at hand; or a module of the user's own with its inputs.
        request: What is to be encoded.
        feeding: How it is fed to the model.
        arguments: The arguments of the model's forward, in place of what is to be encoded; or None.
        tokenizer: A tokenizer at hand for a model by name, or None.
    """

    model: Loading | Live | Own
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
    if isinstance(asked.model, Own):
        what = asked.model.name or type(asked.model.module).__name__
        raise UsageError(
            f"{what} is no model of transformers, and this asks for one",
            either("maskviz.trace and maskviz.check take it", "'maskviz show --module' takes it"),
        )
    if isinstance(asked.model, Live):
        return loaded_object(asked.model.model, asked.model.tokenizer)
    watcher.say_releases()
    watcher.progress(f"loading {asked.model.source.name} ...")
    if asked.tokenizer is None:
        return bring_in(asked.model, asked.request)
    return replace(bring_in(asked.model, Request()), tokenizer=asked.tokenizer, tokenizer_problem="")


def ready_for(watcher: Watcher, asked: Asked, *, proving: bool = False) -> Ready | OwnReady:
    """As `ready`; a module of the user's own is brought together with its inputs.

    Raises:
        MaskvizError: something is not there, or does not go together.
    """
    if not isinstance(asked.model, Own):
        return ready(watcher, asked, proving=proving)
    fed = {"past": asked.feeding.past, "step": asked.feeding.step, "mask": asked.feeding.mask}
    for name, given in fed.items():
        if given is not None:
            raise UsageError(
                f"{parameter(name)} is for models of transformers, and this is a module of your own",
                "give what its forward takes among the inputs",
            )
    return own_ready(asked.model)


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
    if asked.request.inputs is None:
        return encode(loaded, asked.request)
    return encoded_of(loaded, asked.request)


_AT_ONCE = Calling()


def inputs_of(encoded: Encoded) -> dict[str, Any]:
    """What the model is called with; a mask of the user's own takes the place of `attention_mask`."""
    given = encoded.user_mask
    if given is None:
        return encoded.inputs
    before = encoded.inputs.get("attention_mask")
    return {**encoded.inputs, "attention_mask": MaskBehind(given.tensor, before) if given.past else given.tensor}


def run_once(loaded: Loaded, encoded: Encoded, calling: Calling = _AT_ONCE) -> Saved:
    """Trace a batch as it is, with what its reader must know.

    Raises:
        CannotTraceError: the model raises on this input, or mixes its tokens in no way that is known.
    """
    model, batch, card = loaded.model, encoded.batch, loaded.card
    given, inputs = encoded.user_mask, inputs_of(encoded)
    with on_text_alone(model, inputs):
        if given is None:
            trace = run(model, inputs, batch, card, calling)
        else:
            plain = run(model, encoded.inputs, batch, card, calling)
            trace = with_user_mask(run(model, inputs, batch, card, calling, like=plain), plain, given.visible)
    positions = () if calling.parts or loaded.invented else position_note(model, encoded.inputs, trace)
    of_mask = () if given is None else given.notes
    notes = (
        *loaded.notes,
        *left_out(model),
        *encoded.notes,
        *of_mask,
        *positions,
        *_packing_notes(loaded, inputs, trace),
        *trace.notes,
    )
    return Saved(replace(trace, notes=notes))


def left_out(model: PreTrainedModel) -> tuple[str, ...]:
    """A sentence on the parts of a model that read images, sound or video, whose own attention is not shown."""
    towers = set(towers_of(model))
    kinds = [str(module.config.model_type) for path, module in model.named_modules() if path in towers]
    sound = [kind for kind in kinds if any(word in kind for word in ("audio", "speech", "sound", "whisper", "codec"))]
    named = [*(["image"] if len(sound) < len(kinds) else []), *(["audio"] if sound else [])]
    return (
        (f"the {' and '.join(named)} encoder is left out: this is the attention of the text's layers",) if named else ()
    )


def run_with(loaded: Loaded, encoded: Encoded, plain: Trace, mask: HeadMask, calling: Calling = _AT_ONCE) -> Saved:
    """Trace a batch with gates on heads, beside the plain run that `run_once` made of it.

    Raises:
        UsageError: the mask names a head that did not run, or the run has no numbers to gate.
    """
    after = run_gated(loaded.model, inputs_of(encoded), plain, mask, calling)
    change = compare(plain, after)
    return Saved(after, plain, change, names_of(loaded, change))


def check_has_heads(trace: Trace) -> None:
    """Refuse a head mask where nothing can be gated.

    Raises:
        UsageError: the run has no attention.
    """
    if not trace.calls:
        raise UsageError(f"{trace.card.architecture} has no attention to gate", f"leave out {parameter('head_mask')}")


def _packing_notes(loaded: Loaded, inputs: dict[str, Any], trace: Trace) -> tuple[str, ...]:
    """Why packed texts are not separated: what the model does without a cache is tried, not assumed."""
    crossing = crossing_of(trace)
    if crossing is None or crossing.separated or "attention_mask" in inputs:
        return ()
    if trace.calls[0].stack is Stack.ENCODER:
        raise CannotTraceError(
            f"{trace.card.architecture} is an encoder: in one row all texts would see each other",
            f"leave out {parameter('packed')}",
        )
    own = "this model does not tell packed texts apart by their positions"
    takes_cache = "use_cache" in inspect.signature(loaded.model.forward).parameters
    if not takes_cache or inputs.get("use_cache") is False:
        return (own,)
    without = crossing_of(run(loaded.model, {**inputs, "use_cache": False}, trace.batch, loaded.card))
    if without is not None and without.separated:
        separates = f"{parameter('no_cache', True)} separates the texts"
        return (f"a cache exists, so the restarting positions are not looked at; {separates}",)
    return (f"{own}, with a cache or without",)


def names_of(loaded: Loaded, change: Comparison) -> dict[int, str]:
    """Printable tokens of the ids a comparison lists."""
    if change.labels:
        return {}
    listed = sorted({one.index for place in change.places for one in place.candidates})
    labels = token_labels(loaded.tokenizer, np.array([listed], dtype=np.int64))
    return dict(zip(listed, labels[0], strict=True))


def traced(watcher: Watcher, ready: Ready | OwnReady, head_mask: Gates | None = None, most: int | None = None) -> Saved:
    """Trace what was made ready; with a head mask, before and after.

    Args:
        watcher: Who is told.
        ready: The model and its inputs.
        head_mask: Gates on heads, or None.
        most: Bytes its attention may take, None for what is free.

    Raises:
        CannotTraceError: it does not fit, or cannot be run.
        UsageError: the head mask does not fit the model.
    """
    if isinstance(ready, OwnReady):
        return own_traced(watcher, ready, head_mask)
    loaded, encoded, calling = ready.loaded, ready.encoded, ready.calling
    check_fits(loaded.card, encoded.batch, weightless=loaded.weightless, most=most)
    watcher.progress(f"running {loaded.card.architecture} on {encoded.batch.rows} x {encoded.batch.length} tokens ...")
    saved = run_once(loaded, encoded, calling)
    if head_mask is None:
        return saved
    check_has_heads(saved.trace)
    mask = head_mask_for(head_mask, head_shapes(saved.trace), head_groups(saved.trace))
    return run_with(loaded, encoded, saved.trace, mask, calling)


def proven(watcher: Watcher, ready: Ready, saved: Saved) -> Proof:
    """Check the masks of a run against what the model does without a head mask."""
    watcher.progress("proving the masks ...")
    return prove(ready.loaded.model, inputs_of(ready.encoded), saved.before or saved.trace)


def plain_inputs(encoded: Encoded) -> dict[str, Any]:
    """What the model is called with where no cache comes first."""
    given = encoded.user_mask
    return encoded.inputs if given is None else {**encoded.inputs, "attention_mask": given.tensor}


def hand_over_of(watcher: Watcher, ready: Ready, trace: Trace, backend: Backend, choice: Choice) -> list[Panel]:
    """What a backend is handed in a run, as panels behind its masks."""
    watcher.progress(f"asking what {backend} would be handed ...")
    over = hand_over(ready.loaded.model, plain_inputs(ready.encoded), trace, backend, ready.calling)
    return hand_over_panels(trace, over, handed_groups(trace, over), choice)
