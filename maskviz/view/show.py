"""The page of `maskviz show` and `maskviz view`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from maskviz.core.errors import NoWeightsError, UsageError
from maskviz.core.panels.page import MaskGrid, Note, Page, Panel, TokenLines, Tone
from maskviz.core.results.head_roles import ProminentHead
from maskviz.core.results.results import Comparison
from maskviz.core.run.heads import parse_selection
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Only, Scale
from maskviz.core.writing import either, parameter, plural, ranges
from maskviz.view.choosing import (
    Choice,
    card_line,
    chosen_calls,
    chosen_text,
    drawn_row,
    evidence_line,
    page_facts,
    page_title,
    token_strips,
)
from maskviz.view.heads.changes import Names, change_panels, most_moved_maps
from maskviz.view.masks.regions import cut_grid, cut_map
from maskviz.view.pictures import (
    head_grid,
    head_row,
    heatmap,
    in_words,
    mask_panels,
    packing_notes,
    token_lines,
    why_words,
)

# Texts of a batch that are drawn unless one is asked for: more pictures of one mask are read by nobody.
_MOST_TEXTS, _FIRST_TEXTS = 8, 4
# A first look: lines of a terminal; masks that are drawn, and told in a line beside pictures, alone and briefly.
_LINES, _BRIEF_LINES = 60, 24
_FIRST_MASKS, _TOLD_MASKS, _TOLD_ALONE, _TOLD_BRIEFLY = 2, 4, 3, 2
_BRIEF_HEADS = 2  # of each stack, where there are several


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


def show_page(
    trace: Trace,
    choice: Choice,
    what_if: WhatIf | None = None,
    more: Sequence[Panel] = (),
    prominent: Sequence[ProminentHead] = (),
) -> Page:
    """Build the page: notes, tokens, one picture per distinct mask, attention, and what a head mask changed.

    Unless the choice names what of the attention is drawn, the page is a first look: the heads that stand out, on at
    most 60 lines, 24 where it is to be brief.

    Args:
        trace: The run; of a what-if, the gated one.
        choice: What of it is drawn.
        what_if: What changed, or None.
        more: Panels on what else was asked of the run, drawn behind its masks.
        prominent: The heads that stand out, for a first look.

    Raises:
        UsageError: the choice names a layer, head, stack or text that is not there.
    """
    calls = chosen_calls(trace, choice)
    rows = _rows(trace, choice)
    row = drawn_row(trace.batch, choice)
    panels: list[Panel] = [*packing_notes(trace), *(Note(note, Tone.WARNING) for note in trace.notes)]
    if choice.only is None and not choice.brief:
        panels += _strips(trace, choice, rows)
    if choice.only is not Only.ATTENTION:
        first = 0 if what_if is not None else 1 if choice.brief else _FIRST_MASKS
        panels += _masks(trace, choice, calls, rows, len(calls) * len(rows) if choice.named else first)
    panels += more
    if choice.only is not Only.MASK:
        if what_if is not None:
            panels += change_panels(trace, what_if.change, what_if.names, everything=choice.named)
            panels += most_moved_maps(what_if.before, trace, what_if.change, row, choice.scale or Scale.LINEAR)
        if choice.named:
            panels += _attention(trace, calls, choice, row)
        elif what_if is None or choice.lines:
            panels += _first_look(trace, calls, choice, prominent)
    if not choice.brief:
        panels.append(Note(evidence_line(what_if.before if what_if else trace), Tone.QUIET))
    whole = choice.named or more or choice.only or choice.lines
    lines = None if whole else _BRIEF_LINES if choice.brief else _LINES
    return Page(page_title(trace, choice), card_line(trace.card), tuple(panels), page_facts(trace), lines)


def _strips(trace: Trace, choice: Choice, rows: Sequence[int]) -> list[Panel]:
    """The tokens, and which texts are not drawn."""
    strips: list[Panel] = list(token_strips(trace, rows))
    if choice.text is not None or len(rows) == trace.batch.rows:
        return strips
    others = ranges(row + 1 for row in range(trace.batch.rows) if row not in rows)
    said = f"Texts {others} are not drawn; {either('text=N', '--text N')} draws one."
    return [Note(said, Tone.QUIET), *strips]


def _masks(
    trace: Trace, choice: Choice, calls: Sequence[AttentionCall], rows: Sequence[int], pictures: int
) -> list[Panel]:
    """Pictures of the masks, at most so many; those that are one too many, or of which all is visible, in a line."""
    grids = mask_panels(trace, rows, calls, choice.region)
    if choice.only is Only.MASK:
        return [*grids]
    panels: list[Panel] = []
    told: list[str] = []
    for grid in grids:
        everything = not grid.codes.any() and not grid.meaningless.any()
        if everything or len(panels) >= pictures:
            told.append(f"{grid.title}, {_seen_words(grid)}" if everything else grid.line)
        else:
            panels.append(grid)
    most = _TOLD_BRIEFLY if choice.brief else _TOLD_MASKS if pictures else _TOLD_ALONE
    left = 0 if choice.named else len(told) - most
    told = told[: len(told) - max(0, left)]
    if left > 0:
        told.append(f"{plural(left, 'more mask')}: {either('show(all=True)', '--all')} draws each")
    if len(told) < 2:
        return [*panels, *map(Note, told)]
    return [*panels, Note("other masks:" if panels else "masks:", details=tuple(told))]


def _seen_words(grid: MaskGrid) -> str:
    return f"all {len(grid.queries)} x {len(grid.keys)} cells visible"


def _first_look(
    trace: Trace, calls: Sequence[AttentionCall], choice: Choice, prominent: Sequence[ProminentHead]
) -> list[Panel]:
    """The heads of each stack that stand out, and how to see the others."""
    panels: list[Panel] = []
    stacks = [
        of_stack
        for stack in trace.stacks
        if (of_stack := [call for call in calls if call.stack is stack and call.pattern is not None])
    ]
    row = drawn_row(trace.batch, choice)
    for of_stack in stacks:
        heads = [one for one in prominent if one.stack is of_stack[0].stack]
        if choice.brief and heads:
            several = len(stacks) > 1
            words = "; ".join(map(in_words, heads[: _BRIEF_HEADS if several else None]))
            panels.append(Note(f"{f'{of_stack[0].stack} ' if several else ''}heads that stand out: {words}"))
        elif heads and choice.lines:
            panels.append(_lines_of(trace, of_stack, heads[0], row, choice))
        elif heads:
            panels.append(head_row(trace, of_stack, heads, row, choice.scale or Scale.LINEAR))
    count = sum(call.heads for of_stack in stacks for call in of_stack)
    if count:
        panels.append(Note(_others(count, choice), Tone.QUIET))
    return panels


def _lines_of(
    trace: Trace, calls: Sequence[AttentionCall], head: ProminentHead, row: int, choice: Choice
) -> TokenLines:
    call = next(call for call in calls if call.layer == head.layer)
    return token_lines(trace, call, head.head, row, choice, f", {why_words(head)}")


def _others(count: int, choice: Choice) -> str:
    """How to see all heads."""
    said = f"{plural(count, 'head')} in all: {either('show(all=True)', '--all')} draws each"
    if choice.brief:
        return f"{said}."
    report, measures = either("save('report.html')", "-o report.html"), either("maskviz.heads", "maskviz heads")
    return f"{said}, '{measures}' measures them, {report} lets you walk through them."


def _rows(trace: Trace, choice: Choice) -> tuple[int, ...]:
    if choice.text is None:
        return tuple(range(min(trace.batch.rows, _MOST_TEXTS if choice.named or choice.only else _FIRST_TEXTS)))
    return (chosen_text(trace.batch, choice.text),)


def _attention(trace: Trace, calls: Sequence[AttentionCall], choice: Choice, row: int) -> list[Panel]:
    panels: list[Panel] = []
    if choice.heads is not None and not calls:
        raise UsageError("there is no attention to draw heads of", "'maskviz info' lists the layers")
    if (choice.heads is not None or choice.lines) and all(call.pattern is None for call in calls):
        command = either("maskviz.trace", "'maskviz show'")
        hint = f"run {command} with weights, or with {parameter('random_weights', 0)}"
        asked = parameter("lines" if choice.lines else "head")
        raise NoWeightsError(f"{asked} draws numbers", trace.card.note, hint)
    for stack in trace.stacks:
        of_stack = [call for call in calls if call.stack is stack and call.pattern is not None]
        if not of_stack:
            continue
        count = max(call.heads for call in of_stack)
        heads = None if choice.heads is None else parse_selection(choice.heads, count, "head")
        if choice.lines:
            panels += [
                token_lines(trace, call, head, row, choice)
                for call in of_stack
                for head in ([None] if heads is None else heads)
                if head is None or head < call.heads
            ]
        elif len(of_stack) == 1 and heads is not None and len(heads) == 1:
            one = heatmap(trace, of_stack[0], heads[0], row, choice.scale or Scale.LINEAR)
            panels.append(one if choice.region is None else cut_map(one, of_stack[0], choice.region))
        else:
            grid = head_grid(trace, of_stack, heads, row, choice.scale or Scale.LINEAR)
            panels.append(grid if choice.region is None else cut_grid(grid, of_stack, choice.region))
    return panels
