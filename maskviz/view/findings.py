"""Findings, and the list of traps, as pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby

from maskviz.core.checks.findings import Checked, Confidence, Finding, Trap
from maskviz.core.panels.page import Note, Page, Panel, Table, Tone
from maskviz.core.words import Severity
from maskviz.core.writing import either, printable, ranges

_SURE = {
    Confidence.MEASURED: "",
    Confidence.CERTAIN: "",
    Confidence.LIKELY: " (likely: it fits nothing else that is usual)",
    Confidence.POSSIBLE: " (possible: something legal looks the same)",
}


# Findings of one trap that are written out.
_LISTED = 6


def findings_page(checked: Checked, pictures: Sequence[Panel] = ()) -> Page:
    """A check as a page: its verdict, every finding with its cost and its fix, pictures, and what was asked."""
    panels: list[Panel] = [Note(verdict(checked))]
    for _, findings in groupby(checked.findings, lambda one: (one.trap, one.severity, one.fix)):
        panels.append(_note_of(list(findings)))
    panels += pictures
    panels += [Note(printable(note), Tone.QUIET) for note in checked.notes]
    if checked.asked:
        panels.append(Note(f"looked at: {'; '.join(map(printable, checked.asked))}{_passes(checked)}", Tone.QUIET))
    if checked.unasked:
        left = "; ".join(f"{spans(one.traps)} ({one.reason})" for one in checked.unasked)
        panels.append(Note(f"not asked: {left}", Tone.QUIET))
    return Page(printable(checked.subject), printable(checked.about), tuple(panels))


def verdict(checked: Checked) -> str:
    """How many findings there are, of which kind."""
    counts = [(checked.count(severity), severity.value) for severity in reversed(Severity)]
    said = ", ".join(f"{count} {name}{'' if count == 1 else 's'}" for count, name in counts if count)
    return said or "no findings"


def findings_lines(checked: Checked) -> str:
    """What was found in one line: how much, then each trap with the place it is first found at."""
    said = []
    for _, findings in groupby(checked.findings, lambda one: one.trap):
        first, *others = findings
        more = f" (+{len(others)} more)" if others else ""
        said.append(f"{first.trap.id} {first.trap.name}, {printable(first.where)}: {printable(first.message)}{more}")
    return f"{verdict(checked)}{': ' if said else ''}{'; '.join(said)}"


def spans(traps: Sequence[str]) -> str:
    """Ids of traps in a few words: "P1-P9, T3"."""
    groups: dict[str, list[int]] = {}
    for one in traps:
        letters = one.rstrip("0123456789")
        groups.setdefault(letters, []).append(int(one.removeprefix(letters)))
    return ", ".join(
        f"{letters}{part}".replace("-", f"-{letters}")
        for letters, numbers in groups.items()
        for part in ranges(numbers).split(", ")
    )


def _passes(checked: Checked) -> str:
    return f"; {checked.passes} forward pass{'' if checked.passes == 1 else 'es'}" if checked.passes else ""


def _note_of(findings: list[Finding]) -> Note:
    """Findings of one trap that end alike: a single one in the first line, several below it."""
    first, *others = findings
    trap = first.trap
    name = f"{trap.id} {first.severity} {trap.name}"
    seen: tuple[str, ...] = ()
    if not others:
        head = f"{name} · {_said(first)}"
        seen = (f"measured: {printable(first.measured)}",) if first.measured else ()
        seen = (*seen, f"tried: {printable(first.tried)}") if first.tried else seen
    else:
        head = f"{name} · {len(findings)} times"
        seen = tuple(f"{_said(one)}{_cost(one)}" for one in findings[:_LISTED])
        if len(findings) > _LISTED:
            seen = (*seen, f"and {len(findings) - _LISTED} more; {either('to_dict()', '--format json')} has them all")
    details = (trap.sentence, *seen, f"fix: {printable(first.fix)}", f"known from: {trap.source}")
    return Note(head, Tone.PLAIN if first.severity is Severity.NOTE else Tone.WARNING, details)


def _said(finding: Finding) -> str:
    where = f"{printable(finding.where)}: " if finding.where else ""
    return f"{where}{printable(finding.message)}{_SURE[finding.confidence]}"


def _cost(finding: Finding) -> str:
    said = "; ".join(one for one in (finding.measured, finding.tried) if one)
    return f" ({printable(said)})" if said else ""


def traps_page(traps: Iterable[Trap], unchecked: dict[str, str]) -> Page:
    """The traps a check knows, and those that nothing handed to it could show."""
    rows = tuple((trap.id, trap.severity.value, trap.name, trap.sentence) for trap in traps)
    table = Table("rules", ("id", "severity", "name", "what goes wrong"), rows)
    others = tuple(Note(f"{identity} is not checked: {why}", Tone.QUIET) for identity, why in unchecked.items())
    return Page("maskviz check", f"{len(rows)} rules", (table, *others))
