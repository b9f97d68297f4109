"""A run as a report: the masks, the attention and the sentences `show` says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from maskviz.core.checks.findings import Checked
from maskviz.core.panels.page import Note, Page, Panel, Table, Tone
from maskviz.core.panels.report import Opening, Report, ReportCall, ReportHead, ReportMask
from maskviz.core.results.head_roles import CRITERIA, ProminentHead, RoleScore
from maskviz.core.run.heads import parse_selection
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Scale
from maskviz.core.writing import printable
from maskviz.view.choosing import (
    Choice,
    axes_of,
    card_line,
    chosen_calls,
    drawn_row,
    evidence_line,
    page_facts,
    page_title,
)
from maskviz.view.findings import findings_page
from maskviz.view.heads.changes import change_panels
from maskviz.view.pictures import packing_notes, why_words
from maskviz.view.show import WhatIf
from maskviz.view.why.report_rules import clause_of


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """What else is known of a run.

    Attributes:
        checked: What `check` found, or None.
        more: Panels on what else was asked of the run; its notes and tables are in the report.
        prominent: The heads that stand out on the text the report opens with, the one that does most first.
        roles: The roles of each head on that text, by its call and its number.
    """

    checked: Checked | None = None
    more: Sequence[Panel] = ()
    prominent: Sequence[ProminentHead] = ()
    roles: Mapping[tuple[AttentionCall, int], Sequence[RoleScore]] = field(default_factory=dict)


def report_of(
    trace: Trace, choice: Choice, what_if: WhatIf | None = None, command: str = "", beside: Beside | None = None
) -> Report:
    """Build the report of a run.

    Args:
        trace: The run; of a what-if, the gated one.
        choice: The stack and the layers that are in it, and the text and the head it opens with; all heads are in it.
        what_if: What changed, or None.
        command: The command line, for the facts.
        beside: What else is known of the run.

    Raises:
        UsageError: the choice names a layer, head, stack or text that is not there.
    """
    calls = chosen_calls(trace, choice) if trace.calls else ()
    beside = beside or Beside()
    heads = _heads(calls, beside)
    masks = [(mask, sharing) for mask, sharing in trace.distinct_masks() if set(sharing) & set(calls)]
    number_of = {id(call): number for number, (_, sharing) in enumerate(masks) for call in sharing}
    return Report(
        title=page_title(trace, choice),
        subtitle=card_line(trace.card),
        texts=_names(trace),
        masks=tuple(
            ReportMask(
                printable(str(mask.rule)),
                tuple(clause_of(mask.rule, row) for row in range(trace.batch.rows)),
                mask.reasons,
                mask.query_offset,
                mask.agrees,
            )
            for mask, _ in masks
        ),
        calls=tuple(_call(trace, call, number_of[id(call)], what_if) for call in calls),
        notes=(*packing_notes(trace), *(Note(printable(note), Tone.WARNING) for note in trace.notes), *_silent(trace)),
        evidence=evidence_line(what_if.before if what_if else trace),
        findings=() if beside.checked is None else _notes(findings_page(beside.checked)),
        changes=() if what_if is None else tuple(change_panels(trace, what_if.change, what_if.names)),
        asked=tuple(panel for panel in beside.more if isinstance(panel, Note | Table)),
        heads=heads,
        roles={one.role.value: one.means for one in CRITERIA},
        facts={**page_facts(trace), **({"command": printable(command)} if command else {})},
        opens=_opening(trace, choice, calls, heads),
    )


def _call(trace: Trace, call: AttentionCall, mask: int, what_if: WhatIf | None) -> ReportCall:
    axes = [axes_of(trace, call, row) for row in range(trace.batch.rows)]
    gates = trace.head_mask.of(call.stack.value, call.layer) if trace.head_mask else None
    return ReportCall(
        stack=call.stack.value,
        layer=call.layer,
        module=printable(call.module),
        heads=call.heads,
        key_heads=call.key_heads,
        mask=mask,
        queries=tuple(queries for queries, _ in axes),
        keys=tuple(keys for _, keys in axes),
        real=trace.real_queries(call),
        pattern=call.pattern,
        before=None if what_if is None else what_if.before.calls[trace.calls.index(call)].pattern,
        gates=() if gates is None else tuple(float(gate) for gate in gates),
    )


def _names(trace: Trace) -> tuple[str, ...]:
    texts = trace.batch.texts
    if trace.batch.documents is not None or len(texts) != trace.batch.rows:
        texts = ("",) * trace.batch.rows
    return tuple(printable(" ".join(text.split())) for text in texts)


def _silent(trace: Trace) -> tuple[Note, ...]:
    """A sentence on the layers that have no mask to show."""
    if not trace.silent:
        return ()
    kinds = dict.fromkeys(layer.kind or "unknown" for layer in trace.silent)
    layers = ", ".join(str(layer.layer) for layer in trace.silent[:24])
    more = f" and {len(trace.silent) - 24} more" if len(trace.silent) > 24 else ""
    return (Note(f"No mask to show in layers {layers}{more}: {', '.join(map(printable, kinds))}.", Tone.QUIET),)


def _notes(page: Page) -> tuple[Note, ...]:
    return tuple(panel for panel in page.panels if isinstance(panel, Note))


def _heads(calls: Sequence[AttentionCall], beside: Beside) -> tuple[ReportHead, ...]:
    """The heads of some calls that stand out, in their order, then the others that have roles."""
    number_of = {(call.stack, call.layer): number for number, call in enumerate(calls)}
    roles = {
        (call.stack, call.layer, head): tuple((one.role.value, round(one.score, 4)) for one in own)
        for (call, head), own in beside.roles.items()
        if own
    }
    stand_out = {(one.stack, one.layer, one.head): why_words(one) for one in beside.prominent}
    return tuple(
        ReportHead(
            number_of[stack, layer], head, roles.get((stack, layer, head), ()), stand_out.get((stack, layer, head), "")
        )
        for stack, layer, head in dict.fromkeys([*stand_out, *roles])
        if (stack, layer) in number_of
    )


def _opening(trace: Trace, choice: Choice, calls: Sequence[AttentionCall], heads: Sequence[ReportHead]) -> Opening:
    """The chosen head of the first chosen layer, else the one that stands out most; its text is the longest unless one
    is chosen."""
    text, scale = drawn_row(trace.batch, choice), choice.scale or Scale.LINEAR
    if choice.heads is not None and calls:
        head = parse_selection(choice.heads, max(call.heads for call in calls), "head")[0]
        return Opening(head=head, text=text, scale=scale)
    first = heads[0] if heads and choice.layers is None and heads[0].stands_out else ReportHead(0, 0)
    return Opening(first.call, first.head, text, scale)
