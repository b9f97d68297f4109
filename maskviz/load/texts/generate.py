"""A text continued by its model, as `generate()` continues it."""

from __future__ import annotations

import inspect
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import GenerationConfig

from maskviz.core.arrays import IntArray
from maskviz.core.errors import CannotTraceError, NoWeightsError, UsageError
from maskviz.core.writing import parameter
from maskviz.load.models.model import Loaded
from maskviz.load.models.source import in_one_line
from maskviz.load.texts.encode import Encoded, Request, encode, labelled


def continued(loaded: Loaded, request: Request, steps: int) -> tuple[Encoded, int]:
    """Encode a request, let the model continue it greedily, and encode the longer text.

    Position ids are those that `generate()` passes: they count real tokens.

    Returns:
        The whole text, and how many tokens of it were given.

    Raises:
        UsageError: the model does not generate, or there are no weights to generate with.
        CannotTraceError: generating fails.
    """
    _check(loaded, request)
    counted = "position_ids" in inspect.signature(loaded.model.forward).parameters
    given = encode(loaded, replace(request, cumulative_positions=counted and not loaded.card.encoder_decoder))
    _check_positions(loaded, (given.batch.decoder or given.batch).length, steps)
    settings = GenerationConfig.from_model_config(loaded.model.config)
    # One more than is kept: some models force an end at the limit, which is the limit's doing and not theirs.
    settings.update(max_new_tokens=steps + 1, do_sample=False, num_beams=1)
    inputs = {name: tensor for name, tensor in given.inputs.items() if name != "position_ids"}
    try:
        with torch.no_grad():
            generate: Any = loaded.model.generate
            whole = generate(**inputs, generation_config=settings)
    except Exception as error:  # the model's own generation code: whatever it is, it is about this model and text
        said = in_one_line(f"{type(error).__name__}: {error}")
        raise CannotTraceError(
            f"{loaded.card.architecture} cannot generate: {said}", f"leave out {parameter('step')}"
        ) from error
    ids = whole.cpu().numpy()
    side = given.batch.decoder or given.batch
    led = int(not np.array_equal(ids[:, : side.length], side.ids))  # generate() puts a missing start token first
    start = side.length + led
    ids = ids[:, : start + steps]
    made = ids.shape[1] - start
    encoded = _with_tokens(loaded, given, ids, led)
    notes = [f"tokens from {start} on were generated"]
    if not side.keep[:, -1].all() and given.batch.decoder is None:
        notes.append(
            "texts padded on the right go on behind their padding; generate() wants "
            f"{parameter('padding_side', 'left')}"
        )
    if made < steps:
        notes.append(f"the model ended the text after {made} of {steps} tokens")
    return replace(encoded, notes=(*encoded.notes, *notes)), start


def _check(loaded: Loaded, request: Request) -> None:
    model = loaded.model
    if loaded.weightless:
        raise NoWeightsError(
            f"{parameter('step')} generates from numbers", loaded.card.note, f"{parameter('past')} needs none"
        )
    if not model.can_generate():
        raise UsageError(f"{loaded.card.architecture} does not generate", "give a model with a language head")
    if request.cumulative_positions:
        raise UsageError(
            f"{parameter('step')} passes generate()'s positions itself", f"leave out {parameter('position_ids')}"
        )


def _check_positions(loaded: Loaded, length: int, steps: int) -> None:
    limit = loaded.card.positions
    if limit is not None and length + steps > limit:
        hint = f"give {parameter('step', limit - length)}" if limit > length else "give a shorter text"
        raise CannotTraceError(
            f"{length} tokens and {steps} generated are more than the {limit} positions of {loaded.card.name!r}", hint
        )


def _with_tokens(loaded: Loaded, given: Encoded, ids: IntArray, led: int) -> Encoded:
    """The encoded text with ids [batch, token] in place of its own, or of its decoder's, that begin `led` tokens before
    and go on behind them."""
    side = given.batch.decoder or given.batch
    prefix = "decoder_" if given.batch.decoder is not None else ""
    keep = np.ones_like(ids, dtype=np.bool_)
    keep[:, led : led + side.length] = side.keep
    longer = labelled(loaded, ids, keep, side.texts)
    inputs = dict(given.inputs)
    device = inputs[f"{prefix}input_ids"].device
    inputs[f"{prefix}input_ids"] = torch.as_tensor(ids, device=device)
    if f"{prefix}attention_mask" in inputs:
        inputs[f"{prefix}attention_mask"] = torch.as_tensor(keep.astype(np.int64), device=device)
    if "position_ids" in inputs:
        positions = np.maximum(keep.cumsum(axis=1) - 1, 0)
        longer = replace(longer, position_ids=positions)
        inputs["position_ids"] = torch.as_tensor(positions, device=device)
    batch = replace(given.batch, decoder=longer) if prefix else longer
    return Encoded(batch, inputs, given.notes)
