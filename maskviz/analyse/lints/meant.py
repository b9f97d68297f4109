"""The rule about a mask that somebody said is meant."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.analyse.lints.found import found
from maskviz.analyse.lints.layers import layers_in
from maskviz.core.arrays import BoolArray
from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Confidence, Finding
from maskviz.core.checks.lint import Lint, Need
from maskviz.core.rules.algebra import Grid, Rule
from maskviz.core.run.trace import AttentionCall, Trace


def not_as_meant(case: Case) -> Iterator[Finding]:
    """T11: cells of real tokens that differ from those of the rule that was said to be meant."""
    if case.meant is None:
        return
    if case.run is not None:
        yield from _of_layers(case.run.trace, case.meant)
    elif case.array is not None and case.array.visible is not None and case.array.visible.shape[2] > 1:
        visible = case.array.visible
        rows, _, queries, keys = visible.shape
        at = Grid.of(rows, queries, keys, max(0, keys - queries))
        wanted = np.broadcast_to(case.meant.visible(at), visible.shape)
        if (wanted != visible).any():
            yield found("T11", case.array.name, _differences(visible, wanted, case.meant))


def _of_layers(trace: Trace, meant: Rule) -> Iterator[Finding]:
    groups: dict[str, list[AttentionCall]] = {}
    for call in trace.calls:
        queries, keys = trace.sides(call)
        if queries is not keys or (trace.batch.decoder is not None and keys is trace.batch):
            continue  # a rule is meant for the stack that generates
        visible = call.mask.visible[..., : keys.length]
        asked = trace.real_queries(call)[:, None, :, None] & keys.keep[:, None, None, :]
        at = Grid.of(keys.rows, visible.shape[2], visible.shape[3], call.mask.query_offset)
        wanted = np.broadcast_to(meant.visible(at), visible.shape) & asked
        if ((visible & asked) != wanted).any():
            groups.setdefault(_differences(visible & asked, wanted, meant), []).append(call)
    for message, calls in groups.items():
        yield found("T11", layers_in(calls, trace), message, confidence=Confidence.MEASURED)


def _differences(visible: BoolArray, wanted: BoolArray, meant: Rule) -> str:
    """How many cells are shown and blocked against the rule, and the first of them."""
    more, less = (np.asarray(one.any(axis=1)) for one in (visible & ~wanted, wanted & ~visible))
    parts = []
    for cells, what in ((more, "visible that the rule blocks"), (less, "blocked that the rule shows")):
        if cells.any():
            row, query, key = np.argwhere(cells)[0].tolist()
            parts.append(f"{int(cells.sum())} {what}, the first query {query}, key {key} of row {row + 1}")
    return f"other cells than {meant}: {'; '.join(parts)}"


LINTS: tuple[Lint, ...] = (Lint("T11", not_as_meant, (Need.MEANT,)),)
