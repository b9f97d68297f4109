"""What a rule is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from maskviz.core.case import Case
from maskviz.core.findings import Finding
from maskviz.core.given_array import GivenArray
from maskviz.core.traps import TRAPS

# A case goes in; a finding for each place that fell into the trap comes out, none where the case cannot tell.
Lint = Callable[[Case], Iterable[Finding]]


def found(identity: str, where: str, message: str, **more: Any) -> Finding:
    """A finding of the trap with this id; what else a `Finding` has goes by name."""
    return Finding(TRAPS[identity], where, message, **more)


def leak_of(array: GivenArray) -> str:
    """What the framework's own attention gives to cells that are meant to be blocked, in words; "" if not known."""
    if array.trial is None or array.trial.leaked is None:
        return ""
    return f"with random queries and keys, up to {array.trial.leaked:.3f} of a query's attention falls on blocked cells"


def not_numbers_of(array: GivenArray) -> str:
    """For how many queries the framework puts out NaN, in words; "" for none."""
    count = 0 if array.trial is None else array.trial.not_numbers
    return f"the framework's output is NaN for {count} quer{'y' if count == 1 else 'ies'}" if count else ""
