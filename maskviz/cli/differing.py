"""Two runs, or one run under two backends, to be compared. Imports torch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from maskviz.analyse.diff import compare_runs, read_alike
from maskviz.analyse.handover import handed_groups
from maskviz.api.running import names_of
from maskviz.api.runs.traced import encoded_for, loaded_by, traced
from maskviz.cli.asking import feeding_of, loading_of, request_of
from maskviz.cli.env import Env
from maskviz.core.errors import CannotTraceError
from maskviz.core.results.diff import OutputChange, RunDiff
from maskviz.core.run.masks import Mask
from maskviz.core.run.trace import OutputKind, Trace
from maskviz.core.words import Backend
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded
from maskviz.tracing.backends.handing import hand_over
from maskviz.tracing.calling import Calling
from maskviz.tracing.experiments.output_change import output_change, plain_output
from maskviz.view.heads.changes import Names

_PREDICTING = (OutputKind.CAUSAL_LM, OutputKind.MASKED_LM, OutputKind.CLASSES)


def models_differ(env: Env, options: dict[str, Any], texts: tuple[str, ...]) -> tuple[RunDiff, Names]:
    """Compare the runs of two models on the same texts, one model loaded after the other."""
    runs: list[Trace] = []
    outputs: list[Any] = []
    sides = (options["model"], options["against"])
    for model in sides:
        loaded, encoded, calling = _ready(env, {**options, "model": model}, texts)
        runs.append(traced(env, loaded, encoded, None, calling).trace)
        if not loaded.weightless:
            outputs.append(plain_output(loaded.model, _inputs(encoded), loaded.card, calling))
    diff = compare_runs(runs[0], runs[1], (f"{sides[0]}", f"{sides[1]}"))
    known = {} if diff.change is None else names_of(loaded, diff.change)
    return replace(
        diff,
        outputs=_output_change(runs[0], outputs if read_alike(*runs) else []),
        notes=(*diff.notes, *_own_notes(runs)),
    ), lambda index: known.get(index, str(index))


def backends_differ(
    env: Env, options: dict[str, Any], texts: tuple[str, ...], backends: tuple[Backend, Backend]
) -> RunDiff:
    """Compare what two backends are handed in one run, and what the model puts out under each."""
    loaded, encoded, calling = _ready(env, options, texts)
    trace = traced(env, loaded, encoded, None, calling).trace
    sides: list[Trace] = []
    notes: list[str] = list(trace.notes)
    outputs: list[Any] = []
    for backend in backends:
        env.progress(f"asking what {backend} would be handed ...")
        run, said = _handed(loaded, encoded, calling, trace, backend)
        sides.append(run)
        notes += said
        if not loaded.weightless:
            env.progress(f"running under {backend} ...")
            try:
                outputs.append(plain_output(loaded.model, _inputs(encoded), loaded.card, calling, backend))
            except CannotTraceError as error:
                outputs.append(None)
                notes.append(error.message)
    diff = compare_runs(sides[0], sides[1], (str(backends[0]), str(backends[1])))
    # Attention is that of the model's own run for both: nothing of it changes.
    return replace(diff, change=None, outputs=_output_change(trace, outputs), notes=(*diff.notes, *notes))


def _ready(env: Env, options: dict[str, Any], texts: tuple[str, ...]) -> tuple[Loaded, Encoded, Calling]:
    request, loading = request_of(options, texts), loading_of(options)
    feeding = feeding_of(options, request)
    loaded = loaded_by(env, loading, request)
    encoded, calling = encoded_for(env, loaded, request, feeding)
    return loaded, encoded, calling


def _inputs(encoded: Encoded) -> dict[str, Any]:
    given = encoded.user_mask
    return encoded.inputs if given is None else {**encoded.inputs, "attention_mask": given.tensor}


def _own_notes(runs: list[Trace]) -> list[str]:
    return [f"{side}: {note}" for side, run in zip("AB", runs, strict=True) for note in run.notes]


def _output_change(trace: Trace, outputs: list[Any]) -> OutputChange | None:
    if len(outputs) < 2:
        return None
    predicting = trace.outputs is not None and trace.outputs.kind in _PREDICTING
    return output_change(outputs[0], outputs[1], trace.batch.decoder or trace.batch, predicting)


def _handed(
    loaded: Loaded, encoded: Encoded, calling: Calling, trace: Trace, backend: Backend
) -> tuple[Trace, list[str]]:
    """The run with the masks a backend makes of what it is handed, and what cannot be said of it.

    Raises:
        CannotTraceError: transformers refuses the backend.
    """
    over = hand_over(loaded.model, _inputs(encoded), trace, backend, calling)
    if over.refusal:
        others = ", ".join(one for one in Backend if one is not backend)
        raise CannotTraceError(f"{backend}: {over.refusal}", f"compare two of {others}")
    found = {id(call): group for group in handed_groups(trace, over) for call in group.calls}
    notes = list(over.notes)
    calls = []
    for call in trace.calls:
        group = found[id(call)]
        if group.mask is None:
            notes.append(
                f"{backend}, {call.stack} layer {call.layer}: what it lets through is not known ({group.words})"
            )
            continue
        mask = _fitted(group.mask, call.mask)
        same = np.array_equal(mask.visible, call.mask.visible)
        # Attention was measured under the mask that is meant: of another mask it says nothing.
        calls.append(replace(call, mask=mask, pattern=call.pattern if same else None))
    return replace(trace, calls=tuple(calls)), notes


def _fitted(mask: Mask, meant: Mask) -> Mask:
    """A mask with every row and head of the one that is meant."""
    shape = np.broadcast_shapes(mask.visible.shape, meant.visible.shape)
    visible, reasons = np.broadcast_to(mask.visible, shape), np.broadcast_to(mask.reasons, shape)
    return Mask(visible, reasons, mask.rule, query_offset=meant.query_offset, delivery=mask.delivery)
