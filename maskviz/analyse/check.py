"""All rules asked about one case."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from maskviz.analyse.lints import batches, layers, masks, numbers, padding, padding_seen
from maskviz.core.checks.case import Case, Unasked
from maskviz.core.checks.findings import Finding, Lint, Need
from maskviz.core.checks.known import TRAPS, brought_lints

# A trap may have several rules, for what it looks like in a batch, in an array and in a run.
LINTS: tuple[Lint, ...] = (
    *padding.LINTS,
    *padding_seen.LINTS,
    *masks.LINTS,
    *numbers.LINTS,
    *layers.LINTS,
    *batches.LINTS,
)


def lints() -> tuple[Lint, ...]:
    """Every rule: those of the house and those that other packages bring.

    Raises:
        ExtensionError: a package is broken.
    """
    return (*LINTS, *brought_lints())


def check(case: Case, chosen: Collection[str] | None = None) -> tuple[Finding, ...]:
    """Ask every rule of the chosen traps that the case can answer; findings in the order of the traps.

    Args:
        case: What is known.
        chosen: Ids of traps; None for all.

    Raises:
        ExtensionError: a rule of another package fails.
    """
    wanted = [lint for lint in lints() if (chosen is None or lint.trap in chosen) and _missing(lint, case) is None]
    return tuple(one for lint in sorted(wanted, key=lambda lint: _place(lint.trap)) for one in lint.ask(case))


def unasked(case: Case, chosen: Collection[str] | None = None) -> tuple[Unasked, ...]:
    """The chosen traps that no rule could be asked about, by what the case lacks, and what its run left out."""
    reasons: dict[str, str] = {}
    for trap in sorted(TRAPS if chosen is None else chosen, key=_place):
        missing = [_missing(lint, case) for lint in lints() if lint.trap == trap]
        if all(missing):
            reasons[trap] = next(str(one) for one in missing if one)
    for left in () if case.run is None else case.run.unasked:
        reasons |= {trap: left.reason for trap in left.traps if chosen is None or trap in chosen}
    return tuple(Unasked(tuple(_of(reason, reasons)), reason) for reason in dict.fromkeys(reasons.values()))


def _of(reason: str, reasons: dict[str, str]) -> Iterable[str]:
    return sorted((trap for trap, own in reasons.items() if own == reason), key=_place)


def _place(trap: str) -> int:
    return list(TRAPS).index(trap)


def _missing(lint: Lint, case: Case) -> Need | None:
    return next((need for need in lint.needs if not need.met(case)), None)
