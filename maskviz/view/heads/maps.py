"""The page of attention of whole layers: means over heads, or attention rolled out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from maskviz.core.arrays import top_value
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import HeadGrid, HeadTile, Heatmap, Note, Page, Panel, Tone
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Scale
from maskviz.core.writing import parameter, printable
from maskviz.view.choosing import Choice, card_line, chosen_calls, drawn_row, evidence_line, page_facts, token_strips
from maskviz.view.heads.heads import title_of
from maskviz.view.pictures import blocked_cells, heatmap

_MEAN = "Means over the heads of each layer."
_ROLLOUT = (
    "Attention rollout (Abnar & Zuidema 2020): each layer is half its heads' mean and half the residual, rows set to "
    "sum to 1, and the layers up to the one named are multiplied. Queries down: tokens of that layer; keys across: "
    "tokens of the input. It follows attention alone: what values, projections and MLPs do to a token is not in it."
)


def maps_page(trace: Trace, choice: Choice, done: Sequence[str], *, rolled: bool) -> Page:
    """Build the page: for every stack small maps of the chosen layers, and the last of them large.

    Args:
        trace: A run of one head a layer, from `head_means` or `rolled_out`.
        choice: Which stack, layers and text.
        done: What else was done to the maps, sentences.
        rolled: Whether attention was rolled out.

    Raises:
        UsageError: the choice names what is not there.
    """
    row, calls = drawn_row(trace.batch, choice), chosen_calls(trace, choice)
    if not calls:
        raise UsageError("there is no attention to draw", f"leave out {parameter('layer')} and {parameter('stack')}")
    what = "attention rollout" if rolled else "mean of the heads"
    panels: list[Panel] = [Note(_ROLLOUT if rolled else _MEAN), *(Note(sentence) for sentence in done)]
    panels += [Note(printable(note), Tone.WARNING) for note in trace.notes]
    panels += token_strips(trace, [row])
    for stack in trace.stacks:
        of_stack = [call for call in calls if call.stack is stack]
        if len(of_stack) > 1:
            panels.append(_grid(trace, of_stack, row, what, choice.scale or Scale.LINEAR))
        panels += [_large(trace, call, row, what, choice.scale or Scale.LINEAR) for call in of_stack[-1:]]
    panels.append(Note(evidence_line(trace), Tone.QUIET))
    return Page(title_of(what, trace, choice), card_line(trace.card), tuple(panels), page_facts(trace))


def _grid(trace: Trace, calls: Sequence[AttentionCall], row: int, what: str, scale: Scale) -> HeadGrid:
    """All layers side by side."""
    tiles = tuple(
        HeadTile(0, column, call.pattern[row, 0], blocked_cells(call, row, 0), ~trace.real_queries(call)[row])
        for column, call in enumerate(calls)
        if call.pattern is not None
    )
    return HeadGrid(
        title=f"{_stack(trace, calls[0])}{what} of each layer",
        caption="each map: queries down, keys across",
        row_names=("layers",),
        column_names=tuple(f"layer {call.layer}" for call in calls),
        tiles=tiles,
        scale=scale,
        top=top_value(tile.values[~tile.meaningless] for tile in tiles),
    )


def _large(trace: Trace, call: AttentionCall, row: int, what: str, scale: Scale) -> Heatmap:
    one = heatmap(trace, call, 0, row, scale)
    text = f", text {row + 1} of {trace.batch.rows}" if trace.batch.rows > 1 else ""
    words = f"up to layer {call.layer}" if what == "attention rollout" else f"of layer {call.layer}"
    return replace(one, title=f"{_stack(trace, call)}{what} {words}{text}")


def _stack(trace: Trace, call: AttentionCall) -> str:
    return f"{call.stack.value}: " if len(trace.stacks) > 1 else ""
