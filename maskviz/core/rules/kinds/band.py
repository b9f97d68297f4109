"""A window to both sides."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from maskviz.core.arrays import BoolArray
from maskviz.core.rules.algebra import Grid, Leaf, Rule
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.core.rules.forms import Form, Whole
from maskviz.core.rules.python_names import PythonNames
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.seen import Seen
from maskviz.core.rules.typed import BOTH_SIDES, Typed
from maskviz.core.rules.verdicts import Ends, Verdict


@dataclass(frozen=True, slots=True)
class Band(Leaf):
    """A query sees at most `reach` tokens to either side: `|query - key| <= reach`."""

    kind: ClassVar[str] = "band"
    form: ClassVar[Mapping[str, Form]] = {"band": Whole()}
    typed: ClassVar[str] = "window(±N)"
    look: ClassVar[str] = "sliding window"
    place: ClassVar[int] = 1

    reach: int

    @property
    def reason(self) -> Reason:
        return Reason.WINDOW

    @property
    def amount(self) -> str:
        return f"±{self.reach:,}"

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray(np.abs(at.query - at.key) <= self.reach)

    def extents(self, size: Lengths) -> Extents:
        return Extents.between(size, size.query - self.reach, size.query + self.reach + 1)

    def alone(self) -> Rule:
        return self

    def first_blocked(self) -> tuple[int, ...]:
        return (self.reach + 2,)

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "band", "reach": self.reach}

    def python(self, names: PythonNames) -> tuple[str, ...]:
        return (f"({names.query} - key).abs() <= {self.reach}",)

    def needed(self, row: int, query: Ends, key: Ends) -> int:
        return max(query.last - key.first, key.last - query.first)

    def because(self, verdict: Verdict) -> str:
        behind = verdict.behind
        sizes = sorted((abs(behind.first), abs(behind.last)))
        distance = Ends(0 if behind.first <= 0 <= behind.last else sizes[0], sizes[1]).distance
        sign = "≤" if verdict.holds else ">"
        return f"|{verdict.queries} − {verdict.keys}| = {distance} {sign} reach {self.reach}"

    def change(self, verdict: Verdict) -> str:
        return f"a window of at least ±{verdict.needed} would show {verdict.it}"

    @classmethod
    def read(cls, typed: Typed) -> Self | None:
        inside = typed.argument_of("window", "band")
        if inside is None or (typed.name == "window" and not inside.startswith(BOTH_SIDES)):
            return None
        return cls(typed.number(inside if typed.name == "band" else inside.removeprefix("±").removeprefix("+-")))

    @classmethod
    def guesses(cls, seen: Seen) -> Iterator[Rule]:
        yield cls(max(abs(seen.behind), abs(seen.ahead)))

    def __str__(self) -> str:
        return f"window(±{self.reach})"
