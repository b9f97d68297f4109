"""A loaded model run on an encoded batch: load, trace and analyse introduced to each other. Imports torch."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from maskviz.analyse.comparison import compare
from maskviz.analyse.user_mask import with_user_mask
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.results.results import Comparison
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.packing import crossing_of
from maskviz.core.run.trace import Trace
from maskviz.core.words import Stack
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded
from maskviz.load.texts.labels import token_labels
from maskviz.load.texts.senses import on_text_alone
from maskviz.store.saved import Saved
from maskviz.tracing.calling import Calling, MaskBehind
from maskviz.tracing.meaning.naming import towers_of
from maskviz.tracing.meaning.positions import position_note
from maskviz.tracing.run import run, run_gated

_AT_ONCE = Calling()


def inputs_of(encoded: Encoded) -> dict[str, Any]:
    """What the model is called with; a mask of the user's own takes the place of `attention_mask`."""
    given = encoded.user_mask
    if given is None:
        return encoded.inputs
    before = encoded.inputs.get("attention_mask")
    return {**encoded.inputs, "attention_mask": MaskBehind(given.tensor, before) if given.past else given.tensor}


def calling_of(encoded: Encoded) -> Calling:
    """How a batch is fed to the model: at once, behind a cache of somebody's own if its inputs have one."""
    if not encoded.past:
        return _AT_ONCE
    length = (encoded.batch.decoder or encoded.batch).length
    return Calling((encoded.past, length - encoded.past), 1, filled=True)


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
        raise UsageError(f"{trace.card.architecture} has no attention to gate", "leave out --head-mask")


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
