"""A mask of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from maskviz.core.arrays import BoolArray, Content
from maskviz.core.rules.algebra import Grid, Leaf
from maskviz.core.rules.forms import Cells, Form
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class UserMask(Leaf):
    """A query sees what a mask of the user's own lets it see: `cells[batch, head, query, key]`.

    Attributes:
        cells: bool [batch or 1, head or 1, query or 1, key], True = may attend; an axis of 1 stands for all. What lies
            beyond its end is not seen. With heads, what the rule returns has a head axis too.
    """

    kind: ClassVar[str] = "user_mask"
    form: ClassVar[Mapping[str, Form]] = {"user_mask": Cells()}
    place: ClassVar[int] = 3

    cells: Content

    def __post_init__(self) -> None:
        if self.cells.array.ndim != 4 or not self.cells.array.size:
            raise ValueError(f"cells {self.cells.array.shape} must be [batch, head, query, key]")

    @property
    def reason(self) -> Reason:
        return Reason.USER

    def visible(self, at: Grid) -> BoolArray:
        cells = self.cells.array
        rows, heads, queries, keys = cells.shape
        inside = (at.key < keys) & ((at.query < queries) | (queries == 1))
        head = np.arange(heads)[None, :, None, None]
        found = cells[at.batch % rows, head, np.minimum(at.query, queries - 1), np.minimum(at.key, keys - 1)]
        return np.asarray(found & inside)

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "user"}

    def because(self, verdict: Verdict) -> str:
        lets = "lets" if verdict.holds else "does not let"
        return f"the mask that was given {lets} {verdict.queries} see {verdict.keys}"

    def change(self, verdict: Verdict) -> str:
        return f"the mask that is given would have to let {verdict.queries} see {verdict.keys}"

    def __str__(self) -> str:
        return "user mask"
