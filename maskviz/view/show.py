"""The page of `maskviz show` and `maskviz view`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maskviz.core.errors import NoWeightsError, UsageError
from maskviz.core.panels.page import Note, Page, Panel, Tone
from maskviz.core.results.results import Comparison
from maskviz.core.run.heads import parse_selection
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Scale
from maskviz.core.writing import either, parameter
from maskviz.view.choosing import (
    Choice,
    card_line,
    chosen_calls,
    chosen_text,
    evidence_line,
    page_facts,
    page_title,
    token_strips,
)
from maskviz.view.heads.changes import Names, change_panels, most_moved_maps
from maskviz.view.masks.regions import cut_grid, cut_map
from maskviz.view.pictures import head_grid, heatmap, mask_panels, packing_notes

# Texts of a batch that are drawn unless one is asked for: more pictures of one mask are read by nobody.
_MOST_TEXTS = 8


@dataclass(frozen=True, slots=True, eq=False)
class WhatIf:
    """The plain run beside a gated one, and what changed.

    Attributes:
        before: The plain run.
        change: The comparison of the two.
        names: The printable token an id stands for.
    """

    before: Trace
    change: Comparison
    names: Names


def show_page(trace: Trace, choice: Choice, what_if: WhatIf | None = None, more: Sequence[Panel] = ()) -> Page:
    """Build the page: notes, tokens, one picture per distinct mask, attention, and what a head mask changed.

    Args:
        trace: The run; of a what-if, the gated one.
        choice: What of it is drawn.
        what_if: What changed, or None.
        more: Panels on what else was asked of the run, drawn behind its masks.

    Raises:
        UsageError: the choice names a layer, head, stack or text that is not there.
    """
    calls = chosen_calls(trace, choice)
    rows = _rows(trace, choice)
    row = max(rows, key=lambda one: int(trace.batch.keep[one].sum()))
    panels: list[Panel] = [*packing_notes(trace), *(Note(note, Tone.WARNING) for note in trace.notes)]
    if choice.text is None and len(rows) < trace.batch.rows:
        panels.append(
            Note(
                f"Texts {len(rows) + 1} to {trace.batch.rows} are not drawn; {either('text=N', '--text N')} draws one.",
                Tone.QUIET,
            )
        )
    panels += token_strips(trace, rows)
    panels += mask_panels(trace, rows, calls, choice.region)
    panels += more
    if what_if is not None:
        panels += change_panels(trace, what_if.change, what_if.names)
        panels += most_moved_maps(what_if.before, trace, what_if.change, row, choice.scale or Scale.LINEAR)
    if what_if is None or choice.layers or choice.heads:
        panels += _attention(trace, calls, choice, row)
    panels.append(Note(evidence_line(what_if.before if what_if else trace), Tone.QUIET))
    return Page(page_title(trace, choice), card_line(trace.card), tuple(panels), page_facts(trace))


def _rows(trace: Trace, choice: Choice) -> tuple[int, ...]:
    if choice.text is None:
        return tuple(range(min(trace.batch.rows, _MOST_TEXTS)))
    return (chosen_text(trace.batch, choice.text),)


def _attention(trace: Trace, calls: Sequence[AttentionCall], choice: Choice, row: int) -> list[Panel]:
    panels: list[Panel] = []
    if choice.heads is not None and not calls:
        raise UsageError("there is no attention to draw heads of", "'maskviz info' lists the layers")
    if choice.heads is not None and all(call.pattern is None for call in calls):
        command = either("maskviz.trace", "'maskviz show'")
        hint = f"run {command} with weights, or with {parameter('random_weights', 0)}"
        raise NoWeightsError(f"{parameter('head')} draws numbers", trace.card.note, hint)
    for stack in trace.stacks:
        of_stack = [call for call in calls if call.stack is stack and call.pattern is not None]
        if not of_stack:
            continue
        count = max(call.heads for call in of_stack)
        heads = None if choice.heads is None else parse_selection(choice.heads, count, "head")
        if len(of_stack) == 1 and heads is not None and len(heads) == 1:
            one = heatmap(trace, of_stack[0], heads[0], row, choice.scale or Scale.LINEAR)
            panels.append(one if choice.region is None else cut_map(one, of_stack[0], choice.region))
        else:
            grid = head_grid(trace, of_stack, heads, row, choice.scale or Scale.LINEAR)
            panels.append(grid if choice.region is None else cut_grid(grid, of_stack, choice.region))
    return panels
