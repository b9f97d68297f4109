"""Chunks that see nothing of each other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from maskviz.core.arrays import BoolArray, Content, IntArray
from maskviz.core.rules.algebra import Grid, Leaf, Rule, all_of
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.core.rules.forms import Form, PerRow, Whole
from maskviz.core.rules.kinds.causal import Causal
from maskviz.core.rules.python_names import PythonNames
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.seen import Seen
from maskviz.core.rules.tables import row_of
from maskviz.core.rules.typed import Typed
from maskviz.core.rules.verdicts import Ends, Verdict
from maskviz.core.writing import ranges


@dataclass(frozen=True, slots=True)
class Chunk(Leaf):
    """A query sees its own chunk of `size` tokens: `(query - start) // size == (key - start) // size`.

    Attributes:
        size: Tokens in a chunk.
        start: int64 [batch], position of the first chunk's first token (the left padding of a row).
    """

    kind: ClassVar[str] = "chunk"
    form: ClassVar[Mapping[str, Form]] = {"chunk": Whole(1, 2**31), "start": PerRow()}
    typed: ClassVar[str] = "chunk(N)"
    look: ClassVar[str] = "chunked"
    place: ClassVar[int] = 1

    size: int
    start: Content

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"chunk({self.size}) holds no token")

    @property
    def reason(self) -> Reason:
        return Reason.CHUNK

    @property
    def amount(self) -> str:
        return f"{self.size:,}"

    def visible(self, at: Grid) -> BoolArray:
        start = self.start.array[at.batch]
        return np.asarray((at.query - start) // self.size == (at.key - start) // self.size)

    def extents(self, size: Lengths) -> Extents:
        start = self.start.array[:, None]
        first = (size.query - start) // self.size * self.size + start
        return Extents.between(size, first, first + self.size)

    def of_row(self, row: int) -> Rule:
        return replace(self, start=row_of(self.start, row))

    def alone(self) -> Rule:
        return self

    def first_blocked(self) -> tuple[int, ...]:
        return (self.size + 1,)

    def clause(self, row: int) -> dict[str, Any]:
        starts = self.start.array
        alike = len(set(starts.tolist())) == 1
        return {"kind": "chunk", "size": self.size, "start": int(starts[row]), "alike": alike}

    def python(self, names: PythonNames) -> tuple[str, ...]:
        first = names.number(self.start.array)
        shift = "" if first == "0" else f" - {first}"
        return (f"({names.query}{shift}) // {self.size} == (key{shift}) // {self.size}",)

    def pieces(self, row: int, positions: IntArray) -> IntArray:
        return np.asarray((positions - self.start.array[row]) // self.size)

    def needed(self, row: int, query: Ends, key: Ends) -> int | None:
        """The next longer size of chunks that would hold all of them."""
        first, last = min(query.first, key.first), max(query.last, key.last)
        begin = int(self.start.array[row])
        sizes = range(self.size + 1, max(last - begin, begin - first) + 2)
        return next((one for one in sizes if (first - begin) // one == (last - begin) // one), None)

    def because(self, verdict: Verdict) -> str:
        ours, theirs = map(self._named, (verdict.query_pieces, verdict.key_pieces))
        if verdict.holds and verdict.query_pieces == verdict.key_pieces:
            return f"{verdict.queries} and {verdict.keys} are in {ours}"
        return f"{verdict.queries} {verdict.query.verb} in {ours}, {verdict.keys} in {theirs}"

    def _named(self, pieces: tuple[int, ...]) -> str:
        start = int(self.start.array.min()) if len(set(self.start.array.tolist())) == 1 else None
        if len(pieces) > 1 or start is None:
            numbers = ranges(pieces) if min(pieces) >= 0 else ", ".join(map(str, pieces))
            return f"chunk{'s' if len(pieces) > 1 else ''} {numbers}"
        first = start + pieces[0] * self.size
        return f"chunk {pieces[0]} (tokens {Ends(max(0, first), first + self.size - 1)})"

    def change(self, verdict: Verdict) -> str:
        if verdict.needed is None:
            return "no size of chunks would do: the first begins between them"
        return f"chunks of {verdict.needed} would hold {'both' if verdict.single else 'all of them'}"

    @classmethod
    def read(cls, typed: Typed) -> Self | None:
        inside = typed.argument_of("chunk")
        return None if inside is None else cls(typed.number(inside, least=1), Content([0], np.int64))

    @classmethod
    def guesses(cls, seen: Seen) -> Iterator[Rule]:
        """Chunks as long as the most that a query sees, starting where the first query's chunk says."""
        cells = seen.cells
        size = int(cells.sum(axis=-1).max())
        longest = int(cells.any(axis=1).sum(axis=-1).argmax())
        first = np.flatnonzero(cells[longest].any(axis=-1))
        if not 1 < size < seen.keys or not len(first):
            return
        end = int(np.flatnonzero(cells[longest, int(first[0])])[-1])
        yield cls(size, Content(np.full(len(cells), (end + 1) % size), np.int64))
        # Where queries do not see ahead, the last chunk of a row starts at the first key its last queries see.
        starts = np.where(cells.any(axis=-1), seen.first, 0).max(axis=1) % size
        yield all_of(Causal(), cls(size, Content(starts, np.int64)))

    def __str__(self) -> str:
        return f"chunk({self.size})"
