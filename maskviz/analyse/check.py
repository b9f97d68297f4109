"""All rules asked about one case."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from maskviz.analyse.lints import (
    causal,
    contents,
    heads,
    labels,
    layers,
    meant,
    numbers,
    packing,
    padding,
    padding_seen,
    polarity,
    positions,
    running,
    shape,
)
from maskviz.analyse.lints.kind import Lint, Need
from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Finding, Unasked
from maskviz.core.checks.traps import TRAPS

# A trap may have several rules, for what it looks like in a batch, in an array and in a run.
LINTS: tuple[Lint, ...] = (
    *padding.LINTS,
    *padding_seen.LINTS,
    *positions.LINTS,
    *labels.LINTS,
    *contents.LINTS,
    *polarity.LINTS,
    *shape.LINTS,
    *meant.LINTS,
    *numbers.LINTS,
    *running.LINTS,
    *causal.LINTS,
    *layers.LINTS,
    *packing.LINTS,
    *heads.LINTS,
)
_ORDER = {identity: number for number, identity in enumerate(TRAPS)}


def check(case: Case, chosen: Collection[str] = tuple(TRAPS)) -> tuple[Finding, ...]:
    """Ask every rule of the chosen traps that the case can answer; findings in the order of the traps.

    Args:
        case: What is known.
        chosen: Ids of traps.
    """
    wanted = [lint for lint in LINTS if lint.trap in chosen and _missing(lint, case) is None]
    return tuple(one for lint in sorted(wanted, key=lambda lint: _ORDER[lint.trap]) for one in lint.ask(case))


def unasked(case: Case, chosen: Collection[str] = tuple(TRAPS)) -> tuple[Unasked, ...]:
    """The chosen traps that no rule could be asked about, by what the case lacks, and what its run left out."""
    reasons: dict[str, str] = {}
    for trap in sorted(chosen, key=lambda trap: _ORDER[trap]):
        missing = [_missing(lint, case) for lint in LINTS if lint.trap == trap]
        if all(missing):
            reasons[trap] = next(str(one) for one in missing if one)
    for left in () if case.run is None else case.run.unasked:
        reasons |= {trap: left.reason for trap in left.traps if trap in chosen}
    return tuple(Unasked(tuple(_of(reason, reasons)), reason) for reason in dict.fromkeys(reasons.values()))


def _of(reason: str, reasons: dict[str, str]) -> Iterable[str]:
    return sorted((trap for trap, own in reasons.items() if own == reason), key=lambda trap: _ORDER[trap])


def _missing(lint: Lint, case: Case) -> Need | None:
    return next((need for need in lint.needs if not need.met(case)), None)
