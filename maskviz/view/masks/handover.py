"""What a backend is handed, as panels: a table, a sentence on where it departs from the mask, and a picture of that."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from maskviz.core.arrays import IntArray
from maskviz.core.panels.page import MaskGrid, Note, Panel, Table, Tone
from maskviz.core.run.handover import HandedGroup, HandOver
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.writing import printable
from maskviz.view.choosing import Choice, chosen_calls
from maskviz.view.pictures import layer_words, mask_panels


def hand_over_panels(trace: Trace, over: HandOver, groups: Sequence[HandedGroup], choice: Choice) -> list[Panel]:
    """Return what a backend is handed for the chosen calls of a run.

    Args:
        trace: The run.
        over: What was found out about the backend.
        groups: The same by groups of calls.
        choice: Of calls, and of the text whose picture is drawn.
    """
    if over.refusal:
        return [Note(printable(f"{over.backend}: {over.refusal}"), Tone.WARNING)]
    wanted = {id(call) for call in chosen_calls(trace, choice)}
    chosen = [
        replace(group, calls=calls)
        for group in groups
        if (calls := tuple(call for call in group.calls if id(call) in wanted))
    ]
    rows = tuple((layer_words(trace, group.calls), printable(group.words), _pattern(group)) for group in chosen)
    departing = [group for group in chosen if group.expressed is False]
    said = [*over.notes, *(f"{over.backend} {_departs(trace, group)}" for group in departing)]
    return [
        Table(f"handed to {over.backend}", ("layers", "handed over", "pattern"), rows, _CAPTION),
        *(Note(printable(sentence), Tone.WARNING) for sentence in said),
        *(picture for group in departing for picture in _pictures(trace, over, group, choice)),
    ]


_CAPTION = "pattern: what the backend lets through beside the masks above, on rows of real queries"


def _pattern(group: HandedGroup) -> str:
    if group.expressed is None:
        return "not known"
    differing = len(group.added) + len(group.lost)
    return f"{differing:,} of {group.cells:,} cells differ" if differing else "the same cells"


def _departs(trace: Trace, group: HandedGroup) -> str:
    why = f" ({', '.join(group.why)})" if group.why else ""
    said = []
    if len(group.added):
        said.append(f"{len(group.added):,} of {group.cells:,} cells are visible that it blocks")
    if len(group.lost):
        said.append(f"{len(group.lost):,} of {group.cells:,} cells are blocked that it lets through")
    first = _first(trace, group.calls[0], group.added if len(group.added) else group.lost)
    where = layer_words(trace, group.calls)
    return f"departs from the mask of {where}{why}: {' and '.join(said)}, first {first}"


def _first(trace: Trace, call: AttentionCall, cells: IntArray) -> str:
    row, _, query, key = (int(number) for number in cells[0])
    text = f"text {row + 1} " if trace.batch.rows > 1 else ""
    return f"{text}query {query + call.mask.query_offset} key {key}"


def _pictures(trace: Trace, over: HandOver, group: HandedGroup, choice: Choice) -> list[MaskGrid]:
    """What the backend lets through, of the chosen text or the first one it differs on."""
    mask = group.mask
    if mask is None:
        return []
    of_group = {id(call) for call in group.calls}
    calls = tuple(replace(call, mask=mask) if id(call) in of_group else call for call in trace.calls)
    handed = replace(trace, calls=calls)
    first = (group.added if len(group.added) else group.lost)[0]
    row = int(first[0]) if choice.text is None else choice.text - 1
    own = [call for call in calls if call.mask is mask]
    rule = f": {mask.rule}" if mask.rule.readable else ""
    where = layer_words(handed, own) + (f", text {row + 1}" if trace.batch.rows > 1 else "")
    title = f"{over.backend} instead lets through, {where}{rule}"
    return [replace(panel, title=title) for panel in mask_panels(handed, (row,), own)]
