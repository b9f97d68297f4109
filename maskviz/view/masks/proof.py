"""A proof as a table and a verdict."""

from __future__ import annotations

from itertools import groupby

import numpy as np

from maskviz.core.panels.page import Note, Panel, Table, Tone
from maskviz.core.results.results import CallProof, Proof
from maskviz.core.run.trace import Trace
from maskviz.core.writing import plural, ranges


def proof_panels(proof: Proof, trace: Trace) -> list[Panel]:
    """What was asked of each layer and what it answered, the cells that differ, and the verdict."""
    rows = []
    for (stack, result), group in groupby(proof.calls, key=lambda one: (one.call.stack, _result(one, trace))):
        calls = list(group)
        where = ranges(one.call.layer for one in calls)
        rows.append((f"{stack} {where}", f"{sum(_asked(one, trace) for one in calls):,}", result))
    title = "masks against the model's behaviour"
    heads = ("layers", "cells asked>", "what the values' gradients say")
    panels: list[Panel] = [Table(title, heads, tuple(rows))] if rows else []
    if proof.future is not None:
        moved = "moves nothing before it" if proof.future.proven else "moves what comes before it"
        tone = Tone.PLAIN if proof.future.proven else Tone.WARNING
        said = f"Changing each text's last token {moved}: at most {proof.future.moved:.1e}."
        panels.append(Note(said, tone))
    panels.append(_DOUBTED if trace.doubted and proof.proven else _verdict(proof))
    return panels


_DOUBTED = Note("Nothing is proven: the run these masks are of is not to be relied on.", Tone.WARNING)


def _verdict(proof: Proof) -> Note:
    asked = [one for one in proof.calls if one.proven is not None]
    if not proof.proven:
        return Note("Not proven: the model does not do what its masks say.", Tone.WARNING)
    if not asked and proof.future is None:
        return Note("Nothing could be asked: no call mixed values where they can be followed.", Tone.WARNING)
    left = len(proof.calls) - len(asked)
    rest = f"; {plural(left, 'call')} could not be asked" if left else ""
    return Note(f"Proven: every cell that was asked is as its mask says{rest}.")


def _asked(one: CallProof, trace: Trace) -> int:
    if one.differs is None:
        return 0
    keys: int = one.call.mask.visible.shape[3]
    return int(trace.real_queries(one.call).sum()) * keys - one.too_small


def _result(one: CallProof, trace: Trace) -> str:
    if one.differs is None:
        return f"not asked: {one.note}"
    if not len(one.differs):
        small = f", {plural(one.too_small, 'weight')} too small to tell" if one.too_small else ""
        return f"as the mask says{small}"
    cells = np.unique(one.differs[:, [0, 2, 3]], axis=0)
    row, query, key = (int(place) for place in cells[0])
    claimed = "visible" if one.call.mask.visible[row, 0, query, key] else "blocked"
    text = f"text {row + 1}, " if trace.batch.rows > 1 else ""
    query += one.call.mask.query_offset
    return f"{plural(len(cells), 'cell')} differ, first {text}query {query}, key {key}: the mask says {claimed}"
