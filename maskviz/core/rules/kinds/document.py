"""Packed texts that see nothing of each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, Content, IntArray
from maskviz.core.rules.algebra import Grid, Leaf, Rule
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.core.rules.forms import Form, PerToken
from maskviz.core.rules.python_names import PythonNames
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.tables import in_order, looked_up, row_of
from maskviz.core.rules.typed import Typed
from maskviz.core.rules.verdicts import Verdict, of_pieces


@dataclass(frozen=True, slots=True)
class Document(Leaf):
    """A query sees its own document: `document[batch, query] == document[batch, key]`.

    Attributes:
        document: int64 [batch, token], the document a token belongs to.
    """

    kind: ClassVar[str] = "document"
    form: ClassVar[Mapping[str, Form]] = {"document": PerToken()}
    typed: ClassVar[str] = "document"

    document: Content

    @property
    def reason(self) -> Reason:
        return Reason.DOCUMENT

    def visible(self, at: Grid) -> BoolArray:
        ids = self.document.array
        own = looked_up(ids, at.batch, at.query, beyond=-1)
        return np.asarray(own == looked_up(ids, at.batch, at.key, beyond=-2))

    def extents(self, size: Lengths) -> Extents | None:
        """First token and end of each query's document; None where a document is in several pieces."""
        ids, query = self.document.array, size.query[0]
        first, last = np.zeros((2, len(ids), len(query)), np.int64)
        inside = query < ids.shape[1]  # what lies beyond its end belongs to no document
        for row, own in enumerate(ids):
            starts = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
            if len(np.unique(own[starts])) < len(starts):
                return None
            piece = np.searchsorted(starts, query[inside], side="right") - 1
            first[row, inside] = starts[piece]
            last[row, inside] = np.append(starts[1:], len(own))[piece]
        return Extents.between(size, first, last)

    def of_row(self, row: int) -> Rule:
        return replace(self, document=row_of(self.document, row))

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "document", "names": in_order(self.document.array[row]).tolist()}

    def python(self, names: PythonNames) -> tuple[str, ...] | None:
        return None if names.texts is None else (" == ".join(names.texts),)

    def pieces(self, row: int, positions: IntArray) -> AnyArray:
        """Texts in the order of the row from 0, -1 for what lies beyond their end."""
        numbers = np.append(in_order(self.document.array[row]), -1)
        return np.asarray(numbers[np.minimum(positions, len(numbers) - 1)])

    def because(self, verdict: Verdict) -> str:
        return of_pieces(verdict, "text")

    def change(self, verdict: Verdict) -> str:
        return "they would have to be of one text"

    @classmethod
    def read(cls, typed: Typed) -> Self | None:
        if not typed.is_plain("document", "documents"):
            return None
        return cls(typed.given(typed.document, "--documents 1000,5000 gives their lengths"))

    def __str__(self) -> str:
        return "document"
