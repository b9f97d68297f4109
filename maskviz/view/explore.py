"""What the interactive view says: a number for every head, a cell in words, and what silenced heads changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maskviz.core.arrays import FloatArray
from maskviz.core.panels.page import Note, Panel, Table
from maskviz.core.results.results import Comparison, LossDiff
from maskviz.core.results.why import Explanation
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Stack
from maskviz.view.choosing import axes_of
from maskviz.view.heads.changes import Names, change_panels
from maskviz.view.why.page import stretch_lines

_TEXTS = 2  # of a batch, whose change is told


def peaks(trace: Trace, calls: Sequence[AttentionCall], row: int) -> FloatArray:
    """How sharply each head looks: float32 [call, head] in [0, 1], the mean over real queries of the largest weight.

    NaN where a layer has fewer heads, and where there is no attention.
    """
    values = np.full((len(calls), max(call.heads for call in calls)), np.nan, dtype=np.float32)
    for line, call in enumerate(calls):
        real = trace.real_queries(call)[row]
        if call.pattern is not None and real.any() and call.pattern.shape[-1]:
            values[line, : call.heads] = call.pattern[row][:, real].max(axis=-1).mean(axis=-1)
    return values


def telling_cell(trace: Trace, call: AttentionCall, row: int, head: int) -> tuple[int, int]:
    """Places of the query and the key of the cell worth reading first.

    It has the largest weight a real query gives to another token than the first or itself, neither of them a special
    one; where there is none, the largest of all; without weights the last real query looks at itself.
    """
    queries, keys = axes_of(trace, call, row)
    real = trace.real_queries(call)[row]
    last = int(np.flatnonzero(real)[-1]) if real.any() else len(queries) - 1
    itself = min(len(keys) - 1, last + call.mask.query_offset)
    if call.pattern is None:
        return last, itself
    seen = call.mask.visible[row, head if call.mask.visible.shape[1] > 1 else 0] & real[:, None]
    weights = np.nan_to_num(np.where(seen, call.pattern[row, head], 0))
    first = next((place for place, token in enumerate(keys) if token.role != "padding"), 0)
    telling = np.array([token.role not in ("special", "padding") for token in keys])
    telling[first] = False
    spoken = np.array([token.role != "special" for token in queries])
    careful = np.where(spoken[:, None] & telling, weights, 0)
    if call.stack is not Stack.CROSS:
        places = np.arange(len(queries)) + call.mask.query_offset
        careful[places[:, None] == np.arange(len(keys))] = 0
    for one in (careful, weights):
        if one.size and one.max() > 0:
            query, key = divmod(int(one.argmax()), len(keys))
            return query, key
    return last, itself


def moves(calls: Sequence[AttentionCall], change: Comparison) -> FloatArray:
    """How far each head's attention moved: float32 [call, head], total variation distance; NaN where there is none."""
    values = np.full((len(calls), max(call.heads for call in calls)), np.nan, dtype=np.float32)
    moved = {(diff.call.stack, diff.call.layer, diff.call.module): diff.moved for diff in change.patterns}
    for line, call in enumerate(calls):
        values[line, : call.heads] = moved.get((call.stack, call.layer, call.module), np.nan)
    return values


def cell_lines(
    trace: Trace, call: AttentionCall, cell: tuple[int, int, int, int], why: Sequence[Explanation], before: Trace | None
) -> tuple[str, ...]:
    """A cell in words.

    Args:
        trace: The run that is shown.
        call: One of its calls.
        cell: Row of the batch, head, and the places of the query and the key on the map.
        why: Why the cell is visible or blocked.
        before: The run without a head mask, or None.
    """
    row, head, query, key = cell
    queries, keys = axes_of(trace, call, row)
    tokens = (("query", queries[query]), ("key", keys[key]))
    names = [f"{what} {token.place} '{token.text.strip()}'" for what, token in tokens]
    visible = call.mask.visible[row, head if call.mask.visible.shape[1] > 1 else 0, query, key]
    lines = [f"{names[0]} → {names[1]}: {'visible' if visible else 'blocked'}"]
    if call.pattern is not None:
        lines.append(_weight(call, cell, None if before is None else before.calls[trace.calls.index(call)]))
    if not trace.real_queries(call)[row, query]:
        lines.append("the query is padding, so what it sees has no meaning")
    for explanation in why:
        for stretch in explanation.stretches:
            lines += [
                ": ".join(filter(None, (kind, because))) + (f" (to change: {change})" if change else "")
                for _, kind, because, change in stretch_lines(stretch)
            ]
    return tuple(lines)


def _weight(call: AttentionCall, cell: tuple[int, int, int, int], earlier: AttentionCall | None) -> str:
    row, head, query, key = cell
    assert call.pattern is not None
    weights = call.pattern[row, head, query]
    said = f"attention {weights[key]:.4f} of head {call.layer}.{head}"
    if earlier is not None and earlier.pattern is not None:
        old = earlier.pattern[row, head, query, key]
        said += f", before {old:.4f} ({weights[key] - old:+.4f})"
    most = int(np.nanargmax(weights)) if np.isfinite(weights).any() else key
    return said if most == key else f"{said}; this query looks most at key {most}: {weights[most]:.4f}"


def change_lines(trace: Trace, change: Comparison, names: Names) -> tuple[str, ...]:
    """What a head mask changed, in few lines."""
    panels = change_panels(trace, replace(change, losses=()), names)
    several = len(change.losses) > 1
    losses = [loss_sentence(loss, several) for loss in change.losses[:_TEXTS]]
    first, *others = [_in_words(panel) for panel in panels] or [[]]
    return (*first, *losses, *(line for lines in others for line in lines))


def loss_sentence(loss: LossDiff, several: bool) -> str:
    """What became of the loss of a text, in a sentence."""
    text = f"text {loss.row + 1}" if several else "the text"
    return f"loss of {text} {loss.before:.2f} → {loss.after:.2f} nats per token ({loss.after - loss.before:+.2f})"


def _in_words(panel: Panel) -> list[str]:
    if isinstance(panel, Note):
        return [panel.text]
    if not isinstance(panel, Table) or not panel.rows:
        return []
    if panel.columns[0].startswith("text"):
        titles = [title.rstrip(">") for title in panel.columns]
        rows = (
            " ".join(f"{title} {cell}" for title, cell in zip(titles, row, strict=True)) for row in panel.rows[:_TEXTS]
        )
        return [f"{panel.title}: {row}" for row in rows]
    tops = ", ".join(f"{row[0].strip()!r} {row[1]} → {row[2]}" for row in panel.rows[:2])
    return [f"{panel.title}: {tops}; {panel.caption}"]
