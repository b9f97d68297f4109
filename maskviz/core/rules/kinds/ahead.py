"""Some tokens of the future."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from maskviz.core.arrays import BoolArray
from maskviz.core.rules.algebra import Grid, Leaf, Rule
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.core.rules.forms import MOST_TOKENS, Form, Whole
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.typed import Typed
from maskviz.core.rules.verdicts import Ends, Verdict


@dataclass(frozen=True, slots=True)
class Ahead(Leaf):
    """A query sees what came before and at most `reach` tokens after it: `key - query <= reach`."""

    kind: ClassVar[str] = "ahead"
    form: ClassVar[Mapping[str, Form]] = {"ahead": Whole(-MOST_TOKENS)}
    typed: ClassVar[str] = "ahead(N)"
    look: ClassVar[str] = "sliding window"
    place: ClassVar[int] = 1

    reach: int

    @property
    def reason(self) -> Reason:
        return Reason.WINDOW

    @property
    def amount(self) -> str:
        return f"+{self.reach:,}"

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray(at.key - at.query <= self.reach)

    def extents(self, size: Lengths) -> Extents:
        return Extents.between(size, last=size.query + self.reach + 1)

    def alone(self) -> Rule:
        return self

    def first_blocked(self) -> tuple[int, ...]:
        return (self.reach + 2,)

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "ahead", "reach": self.reach}

    def needed(self, row: int, query: Ends, key: Ends) -> int:
        return key.last - query.first

    def because(self, verdict: Verdict) -> str:
        distance = Ends(-verdict.behind.last, -verdict.behind.first).distance
        sign = "≤" if verdict.holds else ">"
        return f"{verdict.keys} − {verdict.queries} = {distance} {sign} reach {self.reach}"

    def change(self, verdict: Verdict) -> str:
        return f"a reach of at least {verdict.needed} would show {verdict.it}"

    @classmethod
    def read(cls, typed: Typed) -> Self | None:
        inside = typed.argument_of("ahead")
        return None if inside is None else cls(typed.number(inside))

    def __str__(self) -> str:
        return f"ahead({self.reach})"
