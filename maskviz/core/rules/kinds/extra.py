"""Keys of the model's own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from maskviz.core.arrays import BoolArray
from maskviz.core.rules.algebra import Grid, Leaf
from maskviz.core.rules.forms import MOST_TOKENS, Form, Whole
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.verdicts import Verdict


@dataclass(frozen=True, slots=True)
class Extra(Leaf):
    """A query sees every key from `first` on: keys of the model's own behind those of the text."""

    kind: ClassVar[str] = "extra"
    form: ClassVar[Mapping[str, Form]] = {"extra": Whole(0, MOST_TOKENS)}
    exception: ClassVar[bool] = True

    first: int

    @property
    def reason(self) -> Reason:
        return Reason.SPARSE

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray((at.key >= self.first) & (at.query >= 0))

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "extra", "first": self.first}

    def because(self, verdict: Verdict) -> str:
        own = f"of the model's own keys, which begin at key {self.first}"
        return f"{verdict.keys} {verdict.key.verb} {'' if verdict.holds else 'none '}{own}"

    def __str__(self) -> str:
        return "extra keys"
