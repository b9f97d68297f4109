"""All rules asked about one case."""

from __future__ import annotations

from collections.abc import Collection

from maskviz.analyse.lints import heads, layers, numbers, packing, padding, polarity, running, shape
from maskviz.analyse.lints.kind import Lint
from maskviz.core.case import Case
from maskviz.core.findings import Finding
from maskviz.core.traps import TRAPS

# A trap may have several rules, for what it looks like in a batch, in an array and in a run.
LINTS: tuple[tuple[str, Lint], ...] = (
    *padding.LINTS,
    *polarity.LINTS,
    *shape.LINTS,
    *numbers.LINTS,
    *running.LINTS,
    *layers.LINTS,
    *packing.LINTS,
    *heads.LINTS,
)


def check(case: Case, chosen: Collection[str] = tuple(TRAPS)) -> tuple[Finding, ...]:
    """Ask every rule of the chosen traps; findings in the order of the traps.

    Args:
        case: What is known.
        chosen: Ids of traps.
    """
    order = {identity: number for number, identity in enumerate(TRAPS)}
    wanted = [(identity, lint) for identity, lint in LINTS if identity in chosen]
    return tuple(one for _, lint in sorted(wanted, key=lambda pair: order[pair[0]]) for one in lint(case))
