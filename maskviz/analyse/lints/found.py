"""Findings and the words that rules share."""

from __future__ import annotations

from typing import Any

from maskviz.core.checks.case import GivenArray
from maskviz.core.checks.findings import Finding
from maskviz.core.checks.traps import TRAPS


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
