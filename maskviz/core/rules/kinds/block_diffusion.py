"""The two halves of block diffusion."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, ByteArray, IntArray, sealed
from maskviz.core.rules.algebra import Grid, Rule
from maskviz.core.rules.forms import Form, Whole
from maskviz.core.rules.python_names import PythonNames
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.seen import Seen
from maskviz.core.rules.typed import Typed
from maskviz.core.rules.verdicts import Verdict, of_blocks
from maskviz.core.writing import ranges


@dataclass(frozen=True, slots=True)
class BlockDiffusion(Rule):
    """The training mask of block diffusion (BD3-LM, arXiv 2503.09573): a row is `length` noisy tokens and the same
    tokens clean, both in blocks of `size`.

    A noisy query sees its own noisy block and the clean tokens of strictly earlier blocks, a clean query the clean
    tokens of its own and earlier blocks.
    """

    kind: ClassVar[str] = "diffusion"
    form: ClassVar[Mapping[str, Form]] = {"diffusion": Whole(1, 2**31), "length": Whole(1, 2**31)}
    typed: ClassVar[str] = "diffusion(N, LENGTH)"
    look: ClassVar[str] = "block diffusion"
    place: ClassVar[int] = 0

    size: int
    length: int

    def __post_init__(self) -> None:
        if min(self.size, self.length) < 1:
            raise ValueError(f"{self} holds no token")

    @property
    def amount(self) -> str:
        return f"{self.size:,}"

    def pieces(self, row: int, positions: IntArray) -> IntArray:
        """The number of the block each position is in, in its own half."""
        return np.asarray(np.where(positions < self.length, positions, positions - self.length) // self.size)

    def visible(self, at: Grid) -> BoolArray:
        own, other = self.pieces(0, at.query), self.pieces(0, at.key)
        of_noisy = np.where(at.key < self.length, other == own, other < own)
        return np.asarray(np.where(at.query < self.length, of_noisy, (at.key >= self.length) & (other <= own)))

    def reasons(self, at: Grid) -> ByteArray:
        later = self.pieces(0, at.key) > self.pieces(0, at.query)
        why = np.where(later, int(Reason.FUTURE), int(Reason.SPARSE))
        return sealed(np.where(self.visible(at), 0, why), np.uint8)

    def alone(self) -> Rule:
        return self

    def first_blocked(self) -> tuple[int, ...]:
        return (self.size + 1, self.length + 1)

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "diffusion", "size": self.size, "length": self.length}

    def python(self, names: PythonNames) -> tuple[str, ...]:
        """One expression without a branch: blocks are numbered within their half, `% length`."""
        size, length, query = self.size, self.length, names.query
        own, other = (f"{side} % {length} // {size}" for side in (query, "key"))
        noisy = f"({query} < {length}) & (key < {length}) & ({other} == {own})"
        before = f"({query} < {length}) & (key >= {length}) & ({other} < {own})"
        clean = f"({query} >= {length}) & (key >= {length}) & ({other} <= {own})"
        return (f"({noisy}) | ({before}) | ({clean})",)

    def divisions(self, row: int, query: IntArray, key: IntArray) -> tuple[AnyArray, ...]:
        return (query < self.length, key < self.length)

    def because(self, verdict: Verdict) -> str:
        ours = self._named(verdict.query.first, verdict.query_pieces)
        return of_blocks(verdict, ours, self._named(verdict.key.first, verdict.key_pieces))

    def _named(self, first: int, pieces: tuple[int, ...]) -> str:
        half = "noisy" if first < self.length else "clean"
        return f"{half} block{'s' if len(pieces) > 1 else ''} {ranges(pieces)}"

    def change(self, verdict: Verdict) -> str:
        if verdict.query.first < self.length:
            return "a noisy query sees its own noisy block and the clean blocks before it"
        return "a clean query sees the clean blocks up to its own"

    @classmethod
    def read(cls, typed: Typed) -> Self | None:
        inside = typed.argument_of("diffusion")
        if inside is None:
            return None
        words = re.split(r",\s+", inside)
        words = words if len(words) == 2 else inside.split(",")  # a comma alone where neither has any of its own
        if len(words) != 2:
            raise typed.wrong(f"{typed.words!r} needs two numbers: tokens of a block, and of the clean text")
        return cls(*(typed.number(one.strip(), least=1) for one in words))

    @classmethod
    def guesses(cls, seen: Seen) -> Iterator[Rule]:
        """Two halves, with blocks as long as the most that a noisy query sees of its own half."""
        if len(seen.query) == seen.keys and not seen.keys % 2 and seen.query[0] == 0:
            length = seen.keys // 2
            size = int(seen.cells[:, :length, :length].sum(axis=-1).max())
            if size:
                yield cls(size, length)

    def __str__(self) -> str:
        return f"diffusion({self.size}, {self.length})"
