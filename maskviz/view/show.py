"""The page of `maskviz show` and `maskviz view`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from maskviz.core.errors import NoWeightsError, UsageError
from maskviz.core.panels.page import Note, Page, Panel, Tone
from maskviz.core.panels.printable import printable
from maskviz.core.parameters import either, parameter
from maskviz.core.results.results import Comparison
from maskviz.core.run.heads import parse_selection
from maskviz.core.run.long import Region
from maskviz.core.run.trace import AttentionCall, Batch, Trace
from maskviz.core.words import Scale, Stack
from maskviz.view.card import card_line
from maskviz.view.heads.attention import head_grid, heatmap
from maskviz.view.heads.changes import Names, change_panels, most_moved_maps
from maskviz.view.masks.masks import mask_panels
from maskviz.view.masks.packing import packing_notes
from maskviz.view.masks.regions import cut_grid, cut_map
from maskviz.view.tokens import text_line, token_strips

# Texts of a batch that are drawn unless one is asked for: more pictures of one mask are read by nobody.
_MOST_TEXTS = 8


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a trace is to be drawn.

    Attributes:
        layers, heads: Selections such as "0,2-4,-1", None for all.
        stack: "encoder", "decoder", "cross", or None for all.
        text: Number of the text that is drawn, from 1; None draws every text's masks and the longest text's heads.
        scale: Of attention maps, None for the page's own.
        title: Title of the page, None for the text itself.
        region: The only part of masks and maps that is drawn, None for all.
    """

    layers: str | None = None
    heads: str | None = None
    stack: str | None = None
    text: int | None = None
    scale: Scale | None = None
    title: str | None = None
    region: Region | None = None


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


class _Call(Protocol):
    """What a call of a run of either kind says."""

    @property
    def layer(self) -> int: ...


_C = TypeVar("_C", bound=_Call, covariant=True)


class _Run(Protocol[_C]):
    """A run of either kind."""

    @property
    def stacks(self) -> tuple[Stack, ...]: ...

    def of_stack(self, stack: Stack) -> tuple[_C, ...]:
        """The calls of one stack, in order."""


def chosen_calls(trace: _Run[_C], choice: Choice) -> tuple[_C, ...]:
    """The calls of the chosen stack and layers, in order."""
    stacks = trace.stacks
    if choice.stack is not None:
        if choice.stack not in [stack.value for stack in stacks]:
            raise UsageError(f"there is no {choice.stack} attention here", f"there is {', '.join(stacks)}")
        stacks = (Stack(choice.stack),)
    chosen: list[_C] = []
    for stack in stacks:
        calls = trace.of_stack(stack)
        if choice.layers is not None:
            last = max(call.layer for call in calls)
            layers = parse_selection(choice.layers, last + 1, f"{stack} layer" if len(stacks) > 1 else "layer")
            calls = tuple(call for call in calls if call.layer in layers)
            if not calls:
                raise UsageError(f"layer {choice.layers} has no attention", "'maskviz info' lists the layers")
        chosen += calls
    return tuple(chosen)


def _rows(trace: Trace, choice: Choice) -> tuple[int, ...]:
    if choice.text is None:
        return tuple(range(min(trace.batch.rows, _MOST_TEXTS)))
    return (chosen_text(trace.batch, choice.text),)


def chosen_text(batch: Batch, number: int) -> int:
    """The row of the batch that is the text of a number from 1.

    Raises:
        UsageError: there is no such text, or no text has a row of its own.
    """
    if batch.documents is not None:
        raise UsageError(
            f"{parameter('text')} picks a row, and {parameter('packed')} puts all texts into one",
            f"leave out {parameter('text')}",
        )
    if not 1 <= number <= batch.rows:
        raise UsageError(f"text {number} does not exist", f"there are texts 1 to {batch.rows}")
    return number - 1


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


def evidence_line(trace: Trace) -> str:
    """How much a run is to be believed, in a sentence."""
    if not trace.card.device and all(call.pattern is None for call in trace.calls):
        return "As the model's own code builds them from the config; without weights there is no attention to show."
    if trace.drift is None:
        return "As the model's own code ran it; there was no plain output to compare with."
    if math.isnan(trace.drift):
        return "As the model's own code ran it; its outputs are not numbers, listened to or not."
    plain = f"a plain {trace.plain_attention} run" if trace.plain_attention else "a plain run"
    said = f"As the model's own code ran it; listening moved its outputs by at most {trace.drift:.1e} from {plain}"
    if trace.rounding is None or trace.drift > 2 * trace.rounding:
        return f"{said}."
    away = f"that run itself is {trace.rounding:.1e} away from the same weights in float32"
    return f"{said}, within what {trace.card.dtype} rounds: {away}."


def page_title(trace: Trace, choice: Choice) -> str:
    """The title that was chosen, or the text."""
    if choice.title is not None:
        return printable(choice.title)
    return text_line(trace.batch.texts) or f"attention of {printable(trace.card.name)}"


def page_facts(trace: Trace) -> dict[str, str]:
    """What the metadata of a file say of a run."""
    facts = {"model": trace.card.name, "text": " | ".join(trace.batch.texts)}
    if trace.head_mask is not None:
        facts["head mask"] = str(trace.head_mask)
    return {name: printable(fact) for name, fact in facts.items() if fact}
