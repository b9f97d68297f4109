"""The token itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from maskviz.core.arrays import BoolArray
from maskviz.core.rules.algebra import Grid, Leaf, Rule
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Itself(Leaf):
    """A query sees its own position: `query == key`."""

    kind: ClassVar[str] = "itself"
    exception: ClassVar[bool] = True

    @property
    def reason(self) -> Reason:
        return Reason.SPARSE

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray(at.query == at.key)

    def alone(self) -> Rule:
        return self

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "itself"}

    def because(self, verdict: Verdict) -> str:
        if verdict.holds:
            return f"{verdict.keys} is the query itself"
        return f"{verdict.keys} {verdict.key.verb} not the query itself"

    def __str__(self) -> str:
        return "itself"
