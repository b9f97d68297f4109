"""What was made ready is run: traced, with heads silenced, proven, handed to another backend. Imports torch."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
from transformers import PreTrainedModel

from maskviz.analyse.comparison import compare
from maskviz.analyse.handover import handed_groups
from maskviz.analyse.user_mask import with_user_mask
from maskviz.api.runs.asked import Ready
from maskviz.api.runs.head_masks import Gates, head_mask_for
from maskviz.api.watcher import Watcher
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.panels.page import Panel
from maskviz.core.parameters import parameter
from maskviz.core.results.results import Comparison, Proof
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.packing import crossing_of
from maskviz.core.run.trace import Trace
from maskviz.core.words import Backend, Stack
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded
from maskviz.load.texts.labels import token_labels
from maskviz.load.texts.senses import on_text_alone
from maskviz.store.saved import Saved
from maskviz.tracing.backends.handing import hand_over
from maskviz.tracing.budget import check_fits
from maskviz.tracing.calling import Calling, MaskBehind
from maskviz.tracing.experiments.prove import prove
from maskviz.tracing.meaning.naming import towers_of
from maskviz.tracing.meaning.positions import position_note
from maskviz.tracing.run import head_groups, head_shapes, run, run_gated
from maskviz.view.masks.handover import hand_over_panels
from maskviz.view.show import Choice

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


def traced(watcher: Watcher, ready: Ready, head_mask: Gates | None = None, most: int | None = None) -> Saved:
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
