"""Masks as panels: one picture per distinct mask and text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from maskviz.core.algebra import Everything
from maskviz.core.masks import Mask
from maskviz.core.panels import LegendEntry, MaskGrid
from maskviz.core.printable import ranges
from maskviz.core.reasons import primary, shares
from maskviz.core.trace import AttentionCall, Trace
from maskviz.view.tokens import axes_of


def mask_panels(trace: Trace, rows: Iterable[int], calls: Iterable[AttentionCall]) -> list[MaskGrid]:
    """One picture per distinct mask among the calls, for each row it differs on."""
    wanted = {id(call) for call in calls}
    panels = []
    rows = tuple(rows)
    for mask, sharing in trace.distinct_masks():
        chosen = [call for call in sharing if id(call) in wanted]
        if chosen:
            panels += [_panel(trace, mask, chosen, alike) for alike in _alike(trace, mask, sharing[0], rows)]
    return panels


def _alike(trace: Trace, mask: Mask, call: AttentionCall, rows: tuple[int, ...]) -> list[list[int]]:
    """Rows grouped by what they show: texts without padding share one picture."""
    groups: list[list[int]] = []
    real = trace.real_queries(call)
    for row in rows:
        for group in groups:
            first = group[0]
            if np.array_equal(mask.reasons[first], mask.reasons[row]) and np.array_equal(real[first], real[row]):
                group.append(row)
                break
        else:
            groups.append([row])
    return groups


def _panel(trace: Trace, mask: Mask, calls: list[AttentionCall], rows: list[int]) -> MaskGrid:
    call, row = calls[0], rows[0]
    queries, keys = axes_of(trace, call, row)
    reasons = mask.reasons[row, 0]
    blocked = shares(reasons)
    return MaskGrid(
        title=f"{layer_words(trace, calls)}{_texts(trace, rows)}: {mask.rule}",
        caption=_caption(mask, row),
        codes=primary(reasons),
        queries=queries,
        keys=keys,
        meaningless=~trace.real_queries(call)[row],
        legend=tuple(LegendEntry(int(reason), reason.word, share) for reason, share in blocked.items()),
    )


def layer_words(trace: Trace, calls: Sequence[AttentionCall]) -> str:
    """The layers of calls of one stack, such as "decoder layers 0-2", or "all layers"."""
    stack = calls[0].stack
    numbers = [call.layer for call in calls]
    everything = len(numbers) == len(trace.of_stack(stack)) and len(numbers) > 1
    words = "all layers" if everything else f"layer{'s' if len(numbers) > 1 else ''} {ranges(numbers)}"
    return f"{stack.value} {words}" if len(trace.stacks) > 1 else words


def _texts(trace: Trace, rows: list[int]) -> str:
    if trace.batch.rows == 1:
        return ""
    return f", text{'s' if len(rows) > 1 else ''} {ranges(row + 1 for row in rows)}"


def _caption(mask: Mask, row: int) -> str:
    visible = mask.visible[row, 0]
    size = f"{visible.shape[0]} x {visible.shape[1]} cells"
    seen = f"all {size} visible" if visible.all() else f"{visible.mean():.1%} of {size} visible"
    if mask.visible.shape[1] > 1:
        return f"{seen}; this mask differs between heads, head 0 is drawn"
    if isinstance(mask.rule, Everything):
        return f"{seen}: every token may attend to every token"
    several = mask.reasons[row, 0] & (mask.reasons[row, 0] - (mask.reasons[row, 0] > 0))
    if several.any():
        seen += "; a cell with several reasons counts for each and is coloured by the first"
    if mask.agrees is False:
        return f"{seen}; the rule does not explain every cell: {mask.rule} is what the model was asked for"
    return seen
