"""Masks and attention as panels: one picture per distinct mask, a map per head."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from maskviz.core.arrays import BoolArray, ByteArray, FloatArray, top_value
from maskviz.core.panels.page import HeadGrid, HeadTile, Heatmap, LegendEntry, MapRow, MaskGrid, Note, TokenLines, Tone
from maskviz.core.results.head_roles import ProminentHead
from maskviz.core.rules.algebra import Everything
from maskviz.core.rules.reasons import primary, shares
from maskviz.core.run.long import Region
from maskviz.core.run.trace import AttentionCall, Mask, Trace, crossing_of
from maskviz.core.words import Scale
from maskviz.core.writing import plural, ranges
from maskviz.view.choosing import Choice, axes_of
from maskviz.view.masks.regions import cells_of, cut_map, part_of, region_words


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


# Texts whose share is named one by one; of more, the largest is.
_NAMED = 3


def packing_notes(trace: Trace) -> list[Note]:
    """A sentence on what crosses between packed texts, measured on the trace; nothing where nothing is packed."""
    crossing = crossing_of(trace)
    if crossing is None:
        return []
    if crossing.separated:
        said = "Packed texts are separated: no attention crosses from one to another."
        mixing = [layer for layer in trace.silent if layer.mixes]
        if not mixing:
            return [Note(said)]
        others = (
            f"no attention crosses between packed texts, but layers without a matrix ({mixing[0].kind}) may mix them"
        )
        return [Note(others, Tone.WARNING)]
    shares = {text + 1: share for text, share in enumerate(crossing.attention) if share > 0}
    if not shares:
        return [Note("packed texts are not separated: they may see each other", Tone.WARNING)]
    if len(shares) > _NAMED:
        said = f"up to {max(shares.values()):.2f} of a text's attention falls on other texts"
    else:
        where = "text 1" if list(shares) == [2] else "other texts"
        said = " and ".join(f"{share:.2f} of text {text}'s" for text, share in shares.items())
        said += f" attention falls on {where}"
    return [Note(f"packed texts are not separated: {said}", Tone.WARNING)]


def head_grid(
    trace: Trace, calls: Sequence[AttentionCall], heads: Iterable[int] | None, row: int, scale: Scale
) -> HeadGrid:
    """Small maps of the chosen heads (None for all) of some calls of one stack, layers down, for one text."""
    chosen = tuple(range(max(call.heads for call in calls)) if heads is None else heads)
    tiles = []
    for line, call in enumerate(calls):
        gates = trace.head_mask.of(call.stack.value, call.layer) if trace.head_mask else None
        for column, head in enumerate(chosen):
            if head < call.heads and call.pattern is not None:
                gate = float(gates[head]) if gates is not None and gates[head] < 1 else None
                tiles.append(
                    HeadTile(
                        line,
                        column,
                        call.pattern[row, head],
                        blocked_cells(call, row, head),
                        ~trace.real_queries(call)[row],
                        gate,
                    )
                )
    stack = f"{calls[0].stack.value} " if len(trace.stacks) > 1 else ""
    return HeadGrid(
        title=f"{stack}attention of each head{_text(trace, row)}",
        caption="each map: queries down, keys across",
        row_names=tuple(f"layer {call.layer}" for call in calls),
        column_names=tuple(f"head {head}" for head in chosen),
        tiles=tuple(tiles),
        scale=scale,
        top=top_value(tile.values[~tile.meaningless] for tile in tiles),
    )


def token_lines(
    trace: Trace, call: AttentionCall, head: int | None, row: int, choice: Choice, words: str = ""
) -> TokenLines:
    """The attention of one head, or of None the mean of all heads of the call, for one text, as lines.

    `words` go behind the title, such as what makes the head stand out.
    """
    scale = choice.scale or Scale.LINEAR
    if head is not None:
        panel = heatmap(trace, call, head, row, scale, words)
    else:
        assert call.pattern is not None
        first = heatmap(trace, call, 0, row, scale)
        values = call.pattern[row].mean(axis=0)
        stack = f"{call.stack.value} " if len(trace.stacks) > 1 else ""
        panel = replace(
            first,
            title=f"{stack}mean of the {plural(call.heads, 'head')} of layer {call.layer}{_text(trace, row)}",
            values=values,
            blocked=~call.mask.visible[row].any(axis=0),
            top=top_value([values[~first.meaningless]]),
        )
    return TokenLines(panel if choice.region is None else cut_map(panel, call, choice.region))


def heatmap(trace: Trace, call: AttentionCall, head: int, row: int, scale: Scale, words: str = "") -> Heatmap:
    """The attention of one head for one text; `words` go behind the title, such as "before"."""
    if call.pattern is None:
        raise ValueError(f"{call.module} kept no pattern")
    queries, keys = axes_of(trace, call, row)
    values = call.pattern[row, head]
    real = trace.real_queries(call)[row]
    stack = f"{call.stack.value} " if len(trace.stacks) > 1 else ""
    return Heatmap(
        title=f"{stack}head {call.layer}.{head}{_text(trace, row)}{words}",
        caption=rows_words(values[real], trace.card.dtype),
        values=values,
        blocked=blocked_cells(call, row, head),
        queries=queries,
        keys=keys,
        meaningless=~real,
        scale=scale,
        top=top_value([values[real]]),
    )


def head_row(
    trace: Trace, calls: Sequence[AttentionCall], heads: Sequence[ProminentHead], row: int, scale: Scale
) -> MapRow:
    """The maps of heads of one stack that stand out, for one text, each with what makes it stand out."""
    by_layer = {call.layer: call for call in calls}
    maps = [heatmap(trace, by_layer[one.layer], one.head, row, scale) for one in heads]
    real = [one.values[~one.meaningless] for one in maps]
    stack = f"{calls[0].stack.value} " if len(trace.stacks) > 1 else ""
    return MapRow(
        title=f"{stack}heads that stand out{_text(trace, row)}",
        caption=rows_words(np.concatenate(real), trace.card.dtype),
        maps=tuple(
            replace(one, title=f"head {head.layer}.{head.head}", caption=why_words(head), top=top_value(real))
            for one, head in zip(maps, heads, strict=True)
        ),
    )


def why_words(head: ProminentHead) -> str:
    """What makes a head stand out, such as "previous token 0.76"."""
    if head.roles:
        return ", ".join(f"{role.role} {role.score:.2f}" for role in head.roles)
    return head.extreme if math.isnan(head.peak) else f"{head.extreme}, peak {head.peak:.2f}"


def in_words(head: ProminentHead) -> str:
    """A head with what makes it stand out."""
    return f"{head.layer}.{head.head} {why_words(head)}"


def blocked_cells(call: AttentionCall, row: int, head: int) -> BoolArray:
    """bool [query, key], True where the mask of this head blocks."""
    visible: BoolArray = call.mask.visible[row, head if call.mask.visible.shape[1] > 1 else 0]
    return ~visible


def rows_words(values: FloatArray, dtype: str, who: str = "one query") -> str:
    """What the rows of a map [query, key] of real queries add up to: less than 1 where an attention sink takes part."""
    caption = f"each row: where {who} looks"
    sums = values.sum(axis=-1)
    rounding = 0.03 if dtype in ("float16", "bfloat16") else 1e-3
    if sums.size and float(sums.min()) < 1 - rounding:
        return f"{caption}; rows sum to {sums.min():.2f}-{sums.max():.2f}, the rest goes to a sink outside the text"
    return f"{caption} (sums to 1)"


def _text(trace: Trace, row: int) -> str:
    return f", text {row + 1} of {trace.batch.rows}" if trace.batch.rows > 1 else ""
