"""Nothing in the future."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from maskviz.core.arrays import BoolArray
from maskviz.core.rules.algebra import Grid, Leaf, Rule
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.core.rules.python_names import PythonNames
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.seen import Seen
from maskviz.core.rules.typed import Typed
from maskviz.core.rules.verdicts import Ends, Verdict


@dataclass(frozen=True, slots=True)
class Causal(Leaf):
    """A query sees itself and what came before: `key <= query`."""

    kind: ClassVar[str] = "causal"
    typed: ClassVar[str] = "causal"
    place: ClassVar[int] = 0

    @property
    def reason(self) -> Reason:
        return Reason.FUTURE

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray(at.key <= at.query)

    def extents(self, size: Lengths) -> Extents:
        return Extents.between(size, last=size.query + 1)

    def alone(self) -> Rule:
        return self

    def first_blocked(self) -> tuple[int, ...]:
        return (2,)

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "causal"}

    def python(self, names: PythonNames) -> tuple[str, ...]:
        return (f"key <= {names.query}",)

    def needed(self, row: int, query: Ends, key: Ends) -> int:
        return key.last

    def because(self, verdict: Verdict) -> str:
        if verdict.holds:
            return f"{verdict.keys} ≤ {verdict.queries}: not in the future"
        return f"{verdict.keys} > {verdict.queries}: future"

    def change(self, verdict: Verdict) -> str:
        return f"the query would have to be {'at position ' if verdict.moved else ''}{verdict.needed} or later"

    @classmethod
    def read(cls, typed: Typed) -> Self | None:
        return cls() if typed.is_plain("causal") else None

    @classmethod
    def guesses(cls, seen: Seen) -> Iterator[Rule]:
        yield cls()

    def __str__(self) -> str:
        return "causal"
