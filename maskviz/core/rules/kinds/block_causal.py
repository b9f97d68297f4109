"""Whole blocks, and all before them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from maskviz.core.arrays import BoolArray, IntArray
from maskviz.core.rules.algebra import Grid, Leaf, Rule
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.core.rules.forms import Form, Whole
from maskviz.core.rules.python_names import PythonNames
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.seen import Seen
from maskviz.core.rules.typed import Typed
from maskviz.core.rules.verdicts import Ends, Verdict, of_blocks
from maskviz.core.writing import ranges


@dataclass(frozen=True, slots=True)
class BlockCausal(Leaf):
    """A query sees its whole block of `size` tokens and all earlier blocks: `key // size <= query // size`."""

    kind: ClassVar[str] = "block"
    form: ClassVar[Mapping[str, Form]] = {"block": Whole(1, 2**31)}
    typed: ClassVar[str] = "block(N)"
    look: ClassVar[str] = "block-causal"
    place: ClassVar[int] = 0

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"{self} holds no token")

    @property
    def reason(self) -> Reason:
        return Reason.FUTURE

    @property
    def amount(self) -> str:
        return f"{self.size:,}"

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray(at.key // self.size <= at.query // self.size)

    def extents(self, size: Lengths) -> Extents:
        return Extents.between(size, last=(size.query // self.size + 1) * self.size)

    def alone(self) -> Rule:
        return self

    def first_blocked(self) -> tuple[int, ...]:
        return (self.size + 1,)

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "block", "size": self.size}

    def python(self, names: PythonNames) -> tuple[str, ...]:
        return (f"key // {self.size} <= {names.query} // {self.size}",)

    def pieces(self, row: int, positions: IntArray) -> IntArray:
        return np.asarray(positions // self.size)

    def needed(self, row: int, query: Ends, key: Ends) -> int:
        return key.last // self.size * self.size

    def because(self, verdict: Verdict) -> str:
        return of_blocks(verdict, self._named(verdict.query_pieces), self._named(verdict.key_pieces))

    def _named(self, pieces: tuple[int, ...]) -> str:
        if len(pieces) > 1:
            return f"blocks {ranges(pieces)}"
        return f"block {pieces[0]} (tokens {Ends(pieces[0] * self.size, (pieces[0] + 1) * self.size - 1)})"

    def change(self, verdict: Verdict) -> str:
        return f"the query would have to be {'at position ' if verdict.moved else ''}{verdict.needed} or later"

    @classmethod
    def read(cls, typed: Typed) -> Self | None:
        inside = typed.argument_of("block")
        return None if inside is None else cls(typed.number(inside, least=1))

    @classmethod
    def guesses(cls, seen: Seen) -> Iterator[Rule]:
        """Blocks of the sizes that ends of what queries see can have.

        Ends within the text are multiples. Where padding hides the first of them, the next is one block on, and as many
        queries as a block has tokens see the first.
        """
        sizes: set[int] = set()
        for row in seen.ends:
            found, counts = np.unique(row[row > 0], return_counts=True)
            if len(found) > 1:
                sizes |= {int(np.gcd.reduce(found[:-1])), int(np.diff(found).min()), int(counts[0])}
        yield from (cls(size) for size in sorted(sizes, reverse=True) if 1 < size < seen.keys)

    def __str__(self) -> str:
        return f"block({self.size})"
