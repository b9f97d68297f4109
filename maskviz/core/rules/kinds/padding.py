"""No padding."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, Content, IntArray
from maskviz.core.rules.algebra import Everything, Grid, Leaf, Rule
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.core.rules.forms import Flag, Form, PerToken
from maskviz.core.rules.python_names import PythonNames
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.tables import looked_up, row_of
from maskviz.core.rules.typed import Typed
from maskviz.core.rules.verdicts import Verdict

_PADDING = 1  # the piece of padding; what is kept is 0


@dataclass(frozen=True, slots=True)
class Padding(Leaf):
    """A query sees keys that are no padding: `keep[batch, key]`.

    Attributes:
        keep: bool [batch, token], False = padding. Positions beyond its end are not kept.
        queries: True where the model also blocks the whole row of a padding query.
    """

    kind: ClassVar[str] = "keep"
    form: ClassVar[Mapping[str, Form]] = {"keep": PerToken(0, 1, np.bool_), "queries": Flag()}
    typed: ClassVar[str] = "padding"
    place: ClassVar[int] = 3

    keep: Content
    queries: bool = False

    @property
    def reason(self) -> Reason:
        return Reason.PADDING

    def visible(self, at: Grid) -> BoolArray:
        kept = looked_up(self.keep.array, at.batch, at.key, beyond=False)
        if self.queries:
            kept = kept & looked_up(self.keep.array, at.batch, at.query, beyond=False)
        return kept

    def extents(self, size: Lengths) -> Extents:
        keep, query = self.keep.array, size.query
        tokens = max(size.keys, size.offset + size.queries)
        kept = np.zeros((len(keep), tokens), np.bool_)
        kept[:, : keep.shape[1]] = keep[:, :tokens]
        last = np.where(kept[:, query[0]], size.keys, 0) if self.queries else np.full_like(query, size.keys)
        return Extents(np.zeros_like(last), last, kept[:, : size.keys], size.keys)

    def of_row(self, row: int) -> Rule:
        return replace(self, keep=row_of(self.keep, row))

    def alone(self) -> Rule | None:
        return Everything() if self.keep.array.all() else None

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "padding", "keep": self.keep.array[row].astype(int).tolist(), "queries": self.queries}

    def python(self, names: PythonNames) -> tuple[str, ...] | None:
        if names.texts is not None:
            return (f"{names.texts[1]} > 0",)
        ends = [_ends(row) for row in self.keep.array]
        if self.queries or not all(ends):
            return None
        first, last = np.array(ends).T
        left = (f"key >= {names.number(first)}",) if first.any() else ()
        right = (f"key < {names.number(last)}",) if (last < self.keep.array.shape[1]).any() else ()
        return (*left, *right)

    def pieces(self, row: int, positions: IntArray) -> AnyArray:
        keep = np.append(self.keep.array[row], False)  # what lies beyond the end is not kept
        return np.where(keep[np.minimum(positions, len(keep) - 1)], 0, _PADDING)

    def divisions(self, row: int, query: IntArray, key: IntArray) -> tuple[AnyArray, ...]:
        return tuple(self.pieces(row, side) for side in ((query, key) if self.queries else (key,)))

    def because(self, verdict: Verdict) -> str:
        if verdict.holds:
            return f"{verdict.keys} {verdict.key.verb} no padding"
        sides = [(verdict.keys, verdict.key)] if _is_padding(verdict.key_pieces) else []
        if self.queries and _is_padding(verdict.query_pieces):
            sides.append((verdict.queries, verdict.query))
        return ", and ".join(f"{name} {ends.verb} padding" for name, ends in sides)

    def change(self, verdict: Verdict) -> str:
        sides = [verdict.key] if _is_padding(verdict.key_pieces) else []
        if self.queries and _is_padding(verdict.query_pieces) and verdict.query not in sides:
            sides.append(verdict.query)
        tokens = " and ".join(side.of("token") for side in sides)
        return f"the attention mask of {tokens} would have to be 1"

    @classmethod
    def read(cls, typed: Typed) -> Self | None:
        inside = typed.argument_of("padding")
        both = inside is not None and re.fullmatch(r"keys\s*,\s*queries", inside) is not None
        if not both and not typed.is_plain("padding"):
            return None
        return cls(typed.given(typed.keep, "--padding 100 pads the last 100 tokens"), queries=both)

    def __str__(self) -> str:
        return "padding(keys, queries)" if self.queries else "padding"


def _is_padding(pieces: tuple[int, ...]) -> bool:
    """Whether the first of some positions is padding."""
    return _PADDING in pieces


def _ends(keep: BoolArray) -> tuple[int, ...]:
    """First token that is kept and the one behind the last; nothing where others lie between them."""
    kept = np.flatnonzero(keep)
    if not len(kept):
        return 0, 0
    first, end = int(kept[0]), int(kept[-1]) + 1
    return (first, end) if end - first == len(kept) else ()
