"""The last tokens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from maskviz.core.arrays import BoolArray
from maskviz.core.rules.algebra import Grid, Leaf, Rule, all_of
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.core.rules.forms import Form, Whole
from maskviz.core.rules.kinds.causal import Causal
from maskviz.core.rules.python_names import PythonNames
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.seen import Seen
from maskviz.core.rules.typed import BOTH_SIDES, Typed
from maskviz.core.rules.verdicts import Ends, Verdict


@dataclass(frozen=True, slots=True)
class Window(Leaf):
    """A query sees the last `size` tokens, its own included, and all that follow: `query - key < size`."""

    kind: ClassVar[str] = "window"
    form: ClassVar[Mapping[str, Form]] = {"window": Whole()}
    typed: ClassVar[str] = "window(N)"
    look: ClassVar[str] = "sliding window"
    place: ClassVar[int] = 1

    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"window({self.size}) has a negative size")

    @property
    def reason(self) -> Reason:
        return Reason.WINDOW

    @property
    def amount(self) -> str:
        return f"{self.size:,}"

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray(at.query - at.key < self.size)

    def extents(self, size: Lengths) -> Extents:
        return Extents.between(size, first=size.query - self.size + 1)

    def alone(self) -> Rule:
        return self

    def first_blocked(self) -> tuple[int, ...]:
        return (self.size + 1,)

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "window", "size": self.size}

    def python(self, names: PythonNames) -> tuple[str, ...]:
        return (f"{names.query} - key < {self.size}",)

    def needed(self, row: int, query: Ends, key: Ends) -> int:
        return query.last - key.first + 1

    def because(self, verdict: Verdict) -> str:
        sign = "<" if verdict.holds else "≥"
        return f"{verdict.queries} − {verdict.keys} = {verdict.behind.distance} {sign} window {self.size}"

    def change(self, verdict: Verdict) -> str:
        return f"a window of at least {verdict.needed} would show {verdict.it}"

    @classmethod
    def read(cls, typed: Typed) -> Self | None:
        inside = typed.argument_of("window")
        return None if inside is None or inside.startswith(BOTH_SIDES) else cls(typed.number(inside))

    @classmethod
    def guesses(cls, seen: Seen) -> Iterator[Rule]:
        if seen.behind >= 0:
            yield all_of(Causal(), cls(seen.behind + 1))

    def __str__(self) -> str:
        return f"window({self.size})"
