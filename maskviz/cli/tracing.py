"""The rooms of a traced run introduced to each other: load, trace, analyse, store. Imports torch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from maskviz.analyse.comparison import compare
from maskviz.cli.env import Env
from maskviz.cli.head_masks import parse_or_read_head_mask
from maskviz.core.results import Comparison
from maskviz.load.encode import Encoded, Request, encode
from maskviz.load.labels import token_labels
from maskviz.load.model import Loaded, load_config, load_model
from maskviz.load.source import Source
from maskviz.store.saved import Saved
from maskviz.trace.budget import check_fits
from maskviz.trace.positions import position_note
from maskviz.trace.run import head_shapes, run, run_gated


def loaded_and_encoded(env: Env, source: Source, request: Request, device: str, dtype: str) -> tuple[Loaded, Encoded]:
    """Load a model and encode a request for it."""
    env.progress(f"loading {source.name} ...")
    loaded = load_model(source, load_config(source), device=device, dtype=dtype)
    return loaded, encode(loaded, request)


def traced(env: Env, loaded: Loaded, encoded: Encoded, head_mask: str | None) -> Saved:
    """Trace a batch; with a head mask, before and after."""
    model, inputs, batch, card = loaded.model, encoded.inputs, encoded.batch, loaded.card
    check_fits(card, batch)
    env.progress(f"running {card.architecture} on {batch.rows} x {batch.length} tokens ...")
    trace = run(model, inputs, batch, card)
    notes = (*loaded.notes, *encoded.notes, *position_note(model, inputs, trace), *trace.notes)
    trace = replace(trace, notes=notes)
    if head_mask is None:
        return Saved(trace)
    after = run_gated(model, inputs, trace, parse_or_read_head_mask(head_mask, head_shapes(trace)))
    change = compare(trace, after)
    return Saved(after, trace, change, _names(loaded, change))


def _names(loaded: Loaded, change: Comparison) -> dict[int, str]:
    """Printable tokens of the ids a comparison lists."""
    if change.labels:
        return {}
    listed = sorted({one.index for place in change.places for one in place.candidates})
    labels = token_labels(loaded.tokenizer, np.array([listed], dtype=np.int64))
    return dict(zip(listed, labels[0], strict=True))
