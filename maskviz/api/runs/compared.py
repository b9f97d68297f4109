"""Two runs made to be compared: of two models on the same texts, or of one under two backends. Imports torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from maskviz.analyse.diff import compare_runs, read_alike
from maskviz.api.runs.own import Own, own_ran, own_ready
from maskviz.api.runs.traced import Asked, Ready, names_of, plain_inputs, ready, traced
from maskviz.api.watcher import Watcher
from maskviz.core.errors import CannotTraceError
from maskviz.core.results.diff import OutputChange, RunDiff
from maskviz.core.run.handover import handed_groups
from maskviz.core.run.trace import Mask, OutputKind, Trace
from maskviz.core.words import Backend
from maskviz.tracing.backends.handing import hand_over
from maskviz.tracing.experiments.output_change import output_change, plain_output

_PREDICTING = (OutputKind.CAUSAL_LM, OutputKind.MASKED_LM, OutputKind.CLASSES)


def models_compared(watcher: Watcher, asked: tuple[Asked, Asked]) -> tuple[RunDiff, dict[int, str]]:
    """The runs of two models on the same texts, one loaded after the other; and the tokens that it names by id."""
    runs: list[Trace] = []
    outputs: list[Any] = []
    for one in asked:
        if isinstance(one.model, Own):
            own = own_ran(watcher, own_ready(one.model))
            runs.append(own.trace)
            outputs.append(own.output)
            continue
        prepared = ready(watcher, one)
        runs.append(traced(watcher, prepared).trace)
        if not prepared.loaded.weightless:
            outputs.append(_output(prepared))
    names = tuple(run.card.name for run in runs)
    diff = compare_runs(runs[0], runs[1], (names[0], names[1]) if names[0] != names[1] else ("A", "B"))
    of_models = diff.change is not None and not isinstance(asked[1].model, Own)
    known = names_of(prepared.loaded, diff.change) if of_models and diff.change is not None else {}
    notes = [f"{side}: {note}" for side, run in zip("AB", runs, strict=True) for note in run.notes]
    changed = _output_change(runs[0], outputs if read_alike(*runs) else [])
    return replace(diff, outputs=changed, notes=(*diff.notes, *notes)), known


def backends_compared(watcher: Watcher, asked: Asked, backends: tuple[Backend, Backend]) -> RunDiff:
    """What two backends are handed in one run, and what the model puts out under each."""
    prepared = ready(watcher, asked)
    trace = traced(watcher, prepared).trace
    sides: list[Trace] = []
    notes: list[str] = list(trace.notes)
    outputs: list[Any] = []
    for backend in backends:
        watcher.progress(f"asking what {backend} would be handed ...")
        run, said = _handed(prepared, trace, backend)
        sides.append(run)
        notes += said
        if not prepared.loaded.weightless:
            watcher.progress(f"running under {backend} ...")
            try:
                outputs.append(_output(prepared, backend))
            except CannotTraceError as error:
                outputs.append(None)
                notes.append(error.message)
    diff = compare_runs(sides[0], sides[1], (str(backends[0]), str(backends[1])))
    # Attention is that of the model's own run for both: nothing of it changes.
    return replace(diff, change=None, outputs=_output_change(trace, outputs), notes=(*diff.notes, *notes))


def _output(prepared: Ready, backend: Backend | None = None) -> Any:
    loaded, calling = prepared.loaded, prepared.calling
    run: Callable[..., Any] = plain_output
    return run(loaded.model, plain_inputs(prepared.encoded), loaded.card, calling, *filter(None, (backend,)))


def _output_change(trace: Trace, outputs: list[Any]) -> OutputChange | None:
    if len(outputs) < 2:
        return None
    predicting = trace.outputs is not None and trace.outputs.kind in _PREDICTING
    return output_change(outputs[0], outputs[1], trace.batch.decoder or trace.batch, predicting)


def _handed(prepared: Ready, trace: Trace, backend: Backend) -> tuple[Trace, list[str]]:
    """The run with the masks a backend makes of what it is handed, and what cannot be said of it.

    Raises:
        CannotTraceError: transformers refuses the backend.
    """
    over = hand_over(prepared.loaded.model, plain_inputs(prepared.encoded), trace, backend, prepared.calling)
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
