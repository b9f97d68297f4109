"""A rule of positions that start over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from maskviz.core.arrays import BoolArray, ByteArray, Content
from maskviz.core.rules.algebra import Grid, Rule
from maskviz.core.rules.forms import MOST_TOKENS, Form, Part, PerToken
from maskviz.core.rules.tables import looked_up


@dataclass(frozen=True, slots=True)
class Repositioned(Rule):
    """A rule that is asked about a token's own position instead of its index, as in packed sequences.

    Attributes:
        rule: The rule asked.
        position: int64 [batch, token], the position each index stands for.
    """

    kind: ClassVar[str] = "repositioned"
    form: ClassVar[Mapping[str, Form]] = {"repositioned": Part(), "position": PerToken(-MOST_TOKENS, MOST_TOKENS)}
    place: ClassVar[int] = 1

    rule: Rule
    position: Content

    def asked_at(self, at: Grid) -> Grid:
        """The positions of the tokens of a grid, at which the rule is asked."""
        return Grid(
            at.batch,
            looked_up(self.position.array, at.batch, at.query, beyond=0),
            looked_up(self.position.array, at.batch, at.key, beyond=0),
        )

    def visible(self, at: Grid) -> BoolArray:
        return self.rule.visible(self.asked_at(at))

    def reasons(self, at: Grid) -> ByteArray:
        return self.rule.reasons(self.asked_at(at))

    @property
    def readable(self) -> bool:
        return self.rule.readable

    def leaves(self) -> tuple[Rule, ...]:
        return self.rule.leaves()

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "moved", "positions": self.position.array[row].tolist()}

    def __str__(self) -> str:
        return str(self.rule)
