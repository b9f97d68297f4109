"""Attention as panels: a grid of heads, or one head large."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.panels.page import HeadGrid, HeadTile, Heatmap
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Scale
from maskviz.view.tokens import axes_of


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


def blocked_cells(call: AttentionCall, row: int, head: int) -> BoolArray:
    """bool [query, key], True where the mask of this head blocks."""
    visible: BoolArray = call.mask.visible[row, head if call.mask.visible.shape[1] > 1 else 0]
    return ~visible


def top_value(maps: Iterable[FloatArray]) -> float:
    """The largest value of some maps, the upper end of their common scale; 1 where there is nothing to see."""
    top = max((float(values.max()) for values in maps if values.size), default=0.0)
    return top if top > 0 else 1.0


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
