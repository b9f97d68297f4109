"""A prefix that sees itself whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, Content, IntArray
from maskviz.core.rules.algebra import Grid, Leaf, Rule
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.core.rules.forms import Form, PerRow
from maskviz.core.rules.python_names import PythonNames
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.seen import Seen
from maskviz.core.rules.tables import row_of
from maskviz.core.rules.typed import Typed
from maskviz.core.rules.verdicts import Ends, Verdict


@dataclass(frozen=True, slots=True)
class Prefix(Leaf):
    """A query sees the whole prefix, itself and what came before: `key < length or key <= query`.

    Attributes:
        length: int64 [batch], tokens of each row's prefix.
    """

    kind: ClassVar[str] = "prefix"
    form: ClassVar[Mapping[str, Form]] = {"prefix": PerRow(0)}
    typed: ClassVar[str] = "prefix(N)"
    look: ClassVar[str] = "prefix"
    place: ClassVar[int] = 0

    length: Content

    def __post_init__(self) -> None:
        if (self.length.array < 0).any():
            raise ValueError(f"{self} has a negative length")

    @property
    def reason(self) -> Reason:
        return Reason.FUTURE

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray((at.key < self.length.array[at.batch % len(self.length.array)]) | (at.key <= at.query))

    def extents(self, size: Lengths) -> Extents:
        return Extents.between(size, last=np.maximum(size.query + 1, self.length.array[:, None]))

    def of_row(self, row: int) -> Rule:
        return replace(self, length=row_of(self.length, row))

    def alone(self) -> Rule | None:
        return self if self._alike else None

    @property
    def _alike(self) -> bool:
        return bool((self.length.array == self.length.array[0]).all())

    def first_blocked(self) -> tuple[int, ...]:
        return (max(2, int(self.length.array[0]) + 1),)

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "prefix", "length": int(self.length.array[row]), "alike": self._alike}

    def python(self, names: PythonNames) -> tuple[str, ...]:
        return (f"(key < {names.number(self.length.array)}) | (key <= {names.query})",)

    def pieces(self, row: int, positions: IntArray) -> AnyArray:
        """0 in the prefix, 1 behind it."""
        return np.asarray(positions >= self.length.array[row], np.int64)

    def divisions(self, row: int, query: IntArray, key: IntArray) -> tuple[AnyArray, ...]:
        return (self.pieces(row, key),)

    def needed(self, row: int, query: Ends, key: Ends) -> int:
        return key.last + 1

    def because(self, verdict: Verdict) -> str:
        tokens = int(self.length.array.max())
        which = "" if not self._alike else f" (tokens {Ends(0, tokens - 1)})" if tokens else " (no token)"
        if verdict.key_pieces == (0,):
            return f"{verdict.keys} {verdict.key.verb} in the prefix{which}"
        if verdict.holds:
            return f"{verdict.keys} ≤ {verdict.queries}: not in the future"
        return f"{verdict.keys} > {verdict.queries}: future, and behind the prefix{which}"

    def change(self, verdict: Verdict) -> str:
        return f"a prefix of at least {verdict.needed} would show {verdict.it}"

    @classmethod
    def read(cls, typed: Typed) -> Self | None:
        inside = typed.argument_of("prefix")
        return None if inside is None else cls(Content([typed.number(inside)], np.int64))

    @classmethod
    def guesses(cls, seen: Seen) -> Iterator[Rule]:
        """A prefix as long as the farthest ahead that a query sees, in all rows or in its own."""
        ahead = np.where(seen.ends > seen.query + 1, seen.ends, 0).max(axis=1)
        if ahead.any():
            yield from (cls(Content(length, np.int64)) for length in (np.full_like(ahead, ahead.max()), ahead))

    def __str__(self) -> str:
        least, most = int(self.length.array.min()), int(self.length.array.max())
        return f"prefix({least})" if least == most else f"prefix({least}-{most})"
