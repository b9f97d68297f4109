"""Spans that see themselves whole."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, Content, IntArray
from maskviz.core.rules.algebra import Grid, Leaf
from maskviz.core.rules.forms import Form, PerToken
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.tables import looked_up
from maskviz.core.rules.verdicts import Verdict, of_pieces


@dataclass(frozen=True, slots=True)
class Span(Leaf):
    """Tokens of one span see each other: `span[batch, query] == span[batch, key] >= 0`.

    Attributes:
        span: int64 [batch, token], the span (such as an image) a token belongs to, -1 for none.
    """

    kind: ClassVar[str] = "span"
    form: ClassVar[Mapping[str, Form]] = {"span": PerToken()}
    exception: ClassVar[bool] = True

    span: Content

    @property
    def reason(self) -> Reason:
        return Reason.OTHER

    def visible(self, at: Grid) -> BoolArray:
        own = looked_up(self.span.array, at.batch, at.query, beyond=-1)
        return np.asarray((own >= 0) & (own == looked_up(self.span.array, at.batch, at.key, beyond=-1)))

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "span", "names": self.span.array[row].tolist()}

    def pieces(self, row: int, positions: IntArray) -> AnyArray:
        names = np.append(self.span.array[row], -1)
        return np.asarray(names[np.minimum(positions, len(names) - 1)])

    def because(self, verdict: Verdict) -> str:
        return of_pieces(verdict, "span")

    def change(self, verdict: Verdict) -> str:
        return "they would have to be of one span"

    def __str__(self) -> str:
        return "same span"
