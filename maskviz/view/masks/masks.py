"""Masks as panels: one picture per distinct mask and text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from maskviz.core.arrays import BoolArray, ByteArray
from maskviz.core.panels.page import LegendEntry, MaskGrid
from maskviz.core.panels.printable import ranges
from maskviz.core.rules.algebra import Everything
from maskviz.core.rules.reasons import primary, shares
from maskviz.core.run.long import Region
from maskviz.core.run.masks import Mask
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.view.masks.regions import cells_of, part_of, region_words
from maskviz.view.tokens import axes_of


def mask_panels(
    trace: Trace, rows: Iterable[int], calls: Iterable[AttentionCall], region: Region | None = None
) -> list[MaskGrid]:
    """One picture per distinct mask among the calls, for each row it differs on; of a region, that part of it."""
    wanted = {id(call) for call in calls}
    panels = []
    rows = tuple(rows)
    for mask, sharing in trace.distinct_masks():
        chosen = [call for call in sharing if id(call) in wanted]
        if chosen:
            panels += [_panel(trace, chosen, alike, region) for alike in _alike(trace, mask, sharing[0], rows)]
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


def _panel(trace: Trace, calls: list[AttentionCall], rows: list[int], region: Region | None) -> MaskGrid:
    call, row = calls[0], rows[0]
    mask = call.mask
    part = None if region is None else part_of(call, region)
    down, across = (slice(None), slice(None)) if part is None else cells_of(call, part)
    queries, keys = axes_of(trace, call, row)
    reasons = mask.reasons[row, 0][down, across]
    real = trace.real_queries(call)[row][down]
    blocked = shares(reasons[real])
    where = "" if part is None else f", {region_words(part)}"
    return MaskGrid(
        title=f"{layer_words(trace, calls)}{_texts(trace, rows)}{where}: {mask.rule}",
        caption=_caption(mask, reasons, real),
        codes=primary(reasons),
        queries=queries[down],
        keys=keys[across],
        meaningless=~real,
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


def _caption(mask: Mask, reasons: ByteArray, real: BoolArray) -> str:
    """What a picture of reasons [query, key] shows; queries that are padding count in no number."""
    visible = reasons[real] == 0
    if not visible.size:
        return "every query is padding"
    size = f"{visible.shape[0]} x {visible.shape[1]} cells"
    seen = f"all {size} visible" if visible.all() else f"{visible.mean():.1%} of {size} visible"
    seen += "" if real.all() else ", padding queries left out"
    if mask.visible.shape[1] > 1:
        return f"{seen}; this mask differs between heads, head 0 is drawn"
    if isinstance(mask.rule, Everything):
        return f"{seen}: every token may attend to every token"
    several = reasons & (reasons - (reasons > 0))
    if several.any():
        seen += "; a cell with several reasons counts for each and is coloured by the first"
    if mask.agrees is False:
        return f"{seen}; the rule does not explain every cell: {mask.rule} is what the model was asked for"
    return seen
