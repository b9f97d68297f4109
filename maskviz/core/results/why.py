"""Why a query may attend to a key or not: what each part of a mask's rule says of a cell, a row or a column."""

from __future__ import annotations

import re
from dataclasses import dataclass

from maskviz.core.errors import UsageError
from maskviz.core.rules.algebra import Rule
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.verdicts import Ends, Verdict
from maskviz.core.words import Stack
from maskviz.core.writing import parameter


@dataclass(frozen=True, slots=True)
class Place:
    """A cell, a row or a column of a mask.

    Attributes:
        query: Number of the query's token, negative from the end; None for every query.
        key: Number of the key's token, as the query's.
    """

    query: int | None
    key: int | None

    def __str__(self) -> str:
        return ",".join("*" if number is None else str(number) for number in (self.query, self.key))


def parse_place(text: str) -> Place:
    """Read a place such as `7,3`, `7,*` (a row) or `*,3` (a column).

    Raises:
        UsageError: the text does not parse, or names every cell.
    """
    match = re.fullmatch(r"\s*(\*|-?\d{1,9})\s*,\s*(\*|-?\d{1,9})\s*", text)
    if match is None:
        raise UsageError(
            f"{parameter('at')} {text[:60]!r} is no cell", "write query,key, such as 7,3; 7,* is a row and *,3 a column"
        )
    query, key = (None if number == "*" else int(number) for number in match.groups())
    if query is None and key is None:
        raise UsageError(
            f"{parameter('at')} *,* is the whole mask", "'maskviz show' draws it; here 7,* is a row and *,3 a column"
        )
    return Place(query, key)


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition(Verdict):
    """A rule, or a part of one, with what it says of some cells.

    Attributes:
        rule: The rule or the part.
        parts: What its own parts say, where it has some.
    """

    rule: Rule
    parts: tuple[Condition, ...] = ()


@dataclass(frozen=True, slots=True)
class Stretch:
    """Cells of a row or a column side by side that are visible, or blocked, for the same reasons.

    Attributes:
        query, key: Numbers of their tokens, counted from the first of the text; one of the two is a single one.
        visible: Whether they are visible in the mask that was delivered.
        reasons: Why they are not; none where they are.
        conditions: What the parts of the rule say of which all have to hold: those that do not and those that cannot be
            read where the cells are blocked, and all of them where they are visible.
    """

    query: Ends
    key: Ends
    visible: bool
    reasons: Reason
    conditions: tuple[Condition, ...]

    @property
    def untold(self) -> Reason:
        """Reasons the mask has and no part of its rule."""
        told = Reason(0)
        for condition in self.conditions:
            told |= condition.reasons
        return Reason(0) if self.visible else self.reasons & ~told

    @property
    def against_rule(self) -> bool:
        """Whether the cells are visible though a part of the rule blocks them."""
        return self.visible and any(condition.holds is False for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Attended:
    """The attention one layer gives a cell.

    Attributes:
        layer: The layer.
        head: The head that gives most.
        largest: What that head gives, in [0, 1]; NaN where it is no number.
        mean: Mean over its heads.
    """

    layer: int
    head: int
    largest: float
    mean: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the cells of a place are visible or blocked, in layers and heads where the answer is the same.

    Attributes:
        stack: Which attention.
        layers: The layers, ascending.
        heads: The heads, where they differ from each other; else empty.
        rules: The different rules of these layers.
        stretches: The cells, in order.
        padding_query: Whether a row is asked about, or a cell, whose query is padding.
        attended: The attention of each layer, where the place is a cell and there is attention.
    """

    stack: Stack
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    rules: tuple[Rule, ...]
    stretches: tuple[Stretch, ...]
    padding_query: bool = False
    attended: tuple[Attended, ...] = ()
