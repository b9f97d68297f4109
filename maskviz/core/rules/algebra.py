"""What a rule is, and how rules combine: values that evaluate on an index grid and print as they are said.

Every rule answers the same question for a query and a key position: may this query see this key?
Positions are absolute, so a decode step with 7 cached tokens has queries from 7 on.
Whatever else is asked of a rule is asked of its class, too: nobody else lists the kinds there are (`kinds/`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, ClassVar, Self

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, ByteArray, IntArray, sealed
from maskviz.core.rules.extents import Extents, Lengths
from maskviz.core.rules.forms import Form, Parts, Said
from maskviz.core.rules.python_names import PythonNames
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.seen import Seen
from maskviz.core.rules.typed import Typed
from maskviz.core.rules.verdicts import Ends, Verdict


@dataclass(frozen=True, slots=True, eq=False)
class Grid:
    """The positions a rule is asked about, shaped to broadcast to [batch, 1, query, key].

    Attributes:
        batch: int64 [batch, 1, 1, 1], rows of the batch.
        query: int64 [1 or batch, 1, query, 1], absolute query positions.
        key: int64 [1 or batch, 1, 1, key], absolute key positions.
    """

    batch: IntArray
    query: IntArray
    key: IntArray

    @classmethod
    def of(cls, batch: int, queries: int, keys: int, query_offset: int = 0, key_offset: int = 0) -> Grid:
        """The grid of `batch` rows, with query and key positions counted from their offsets."""
        return cls(
            np.arange(batch)[:, None, None, None],
            np.arange(query_offset, query_offset + queries)[None, None, :, None],
            np.arange(key_offset, key_offset + keys)[None, None, None, :],
        )

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """[batch, 1, query, key]: the shape a rule evaluated here broadcasts to."""
        return (self.batch.shape[0], 1, self.query.shape[2], self.key.shape[3])


class Rule(ABC):
    """A condition on (query, key). `a & b` lets a query see what both let it see, `a | b` what either does.

    A kind says its cells, their reasons and its name; what else it does not say itself is answered from these, or with
    "not known". A new kind is a class in a file of its own that is entered in the registry.

    Attributes:
        kind: What files call it.
        form: How its fields are written in files, in their order. A kind of the house may call its first one as itself,
            {"window": 4}; any other is written as {"rule": kind, field: ...}.
        typed: How it is typed, such as "window(N)"; "" where it cannot be.
        look: What a mask is called that has such a rule among its parts, such as "sliding window"; "" for no name.
        place: Where a conjunction says the rule: from the model (0) to the batch (3).
        exception: Whether the rule only ever lets through what another blocks, and so is no reason itself.
    """

    __slots__ = ()
    kind: ClassVar[str] = ""
    form: ClassVar[Mapping[str, Form]] = {}
    typed: ClassVar[str] = ""
    look: ClassVar[str] = ""
    place: ClassVar[int] = 2
    exception: ClassVar[bool] = False

    @abstractmethod
    def visible(self, at: Grid) -> BoolArray:
        """True where the query may attend to the key; broadcastable to `at.shape`.

        Raises:
            NotReadableError: the rule, or a part of it, is opaque.
        """

    @abstractmethod
    def reasons(self, at: Grid) -> ByteArray:
        """Reason bits of the cells this rule blocks, 0 elsewhere; broadcastable to `at.shape`.

        Opaque parts contribute nothing: what only they block is left without a reason.
        """

    @abstractmethod
    def __str__(self) -> str: ...

    @property
    def readable(self) -> bool:
        """Whether every part of the rule can be evaluated."""
        return True

    @property
    def amount(self) -> str:
        """Its number as a table lists it, such as `4,096`; "" where it has none."""
        return ""

    def leaves(self) -> tuple[Rule, ...]:
        """The parts that are no combination of others, in the order they are said."""
        return (self,)

    def extents(self, size: Lengths) -> Extents | None:
        """How far each query sees, or None where its keys are no single run for each query, or nobody knows.

        Linear in queries and keys; no cell is evaluated.
        """
        return None

    def of_row(self, row: int) -> Rule:
        """The rule of one row of a batch, for a batch of that row alone."""
        return self

    def alone(self) -> Rule | None:
        """The rule as it is for one text of real tokens alone; None where it depends on more than positions."""
        return None

    def first_blocked(self) -> tuple[int, ...]:
        """The lengths of text at which it begins to block cells of another nature, where `alone` is not None."""
        return ()

    def clause(self, row: int) -> dict[str, Any]:
        """The rule of one row as plain data, its "kind" and numbers, for a page that reads rules without Python."""
        return {"kind": "opaque"}

    def python(self, names: PythonNames) -> tuple[str, ...] | None:
        """Comparisons in Python that all hold where it lets a query see a key; None where it cannot be said so."""
        return None

    def pieces(self, row: int, positions: IntArray) -> AnyArray | None:
        """The number of the chunk, block, text ... each position of a row is in; None for rules that know none."""
        return None

    def divisions(self, row: int, query: IntArray, key: IntArray) -> tuple[AnyArray, ...]:
        """What else than its verdict has to be the same in all cells [n] of a row that one sentence is about."""
        return ()

    def needed(self, row: int, query: Ends, key: Ends) -> int | None:
        """The least number in the rule's place that lets the queries see the keys; None where there is none."""
        return None

    def because(self, verdict: Verdict) -> str:
        """Why it lets queries see keys, or does not, with its numbers."""
        return f"{self} {'lets' if verdict.holds else 'does not let'} {verdict.queries} see {verdict.keys}"

    def change(self, verdict: Verdict) -> str:
        """What would have to change for cells that it blocks to be visible."""
        return f"{verdict.queries} and {verdict.keys} would have to meet '{self}'"

    @classmethod
    def read(cls, typed: Typed) -> Self | None:
        """The rule that somebody typed; None where it is none of this kind.

        Raises:
            UsageError: it is of this kind, and its number is none.
        """
        return None

    @classmethod
    def guesses(cls, seen: Seen) -> Iterator[Rule]:
        """Rules of this kind that could let through what is seen, the plainest first."""
        yield from ()

    def __and__(self, other: Rule) -> Rule:
        return all_of(self, other)

    def __or__(self, other: Rule) -> Rule:
        return any_of(self, other)


class NotReadableError(ValueError):
    """An opaque rule was asked what it lets through."""


class Leaf(Rule):
    """A rule with a single reason."""

    __slots__ = ()

    @property
    @abstractmethod
    def reason(self) -> Reason:
        """Why this rule blocks the cells it blocks."""

    def reasons(self, at: Grid) -> ByteArray:
        return sealed(np.where(self.visible(at), 0, int(self.reason)), np.uint8)


@dataclass(frozen=True, slots=True)
class Everything(Rule):
    """Every query sees every key."""

    kind: ClassVar[str] = "all"
    typed: ClassVar[str] = "bidirectional"

    def visible(self, at: Grid) -> BoolArray:
        return np.ones((1, 1, 1, 1), dtype=np.bool_) | (at.query >= 0)

    def reasons(self, at: Grid) -> ByteArray:
        return np.zeros((1, 1, 1, 1), dtype=np.uint8)

    def extents(self, size: Lengths) -> Extents:
        return Extents.between(size)

    def alone(self) -> Rule:
        return self

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "everything"}

    def because(self, verdict: Verdict) -> str:
        return "every token may attend to every token"

    @classmethod
    def read(cls, typed: Typed) -> Self | None:
        return cls() if typed.is_plain("bidirectional") else None

    @classmethod
    def guesses(cls, seen: Seen) -> Iterator[Rule]:
        yield cls()

    def __str__(self) -> str:
        return "bidirectional"


@dataclass(frozen=True, slots=True)
class Opaque(Rule):
    """A rule whose name is known and whose meaning is not.

    Attributes:
        name: What it is called.
        claimed: The rule its name stands for, in words, where its cells are others; else "".
    """

    kind: ClassVar[str] = "opaque"
    form: ClassVar[Mapping[str, Form]] = {"opaque": Said(), "claimed": Said(optional=True)}

    name: str
    claimed: str = ""

    def visible(self, at: Grid) -> BoolArray:
        raise NotReadableError(f"the rule {self.name!r} cannot be evaluated")

    def reasons(self, at: Grid) -> ByteArray:
        return np.zeros((1, 1, 1, 1), dtype=np.uint8)

    @property
    def readable(self) -> bool:
        return False

    def __str__(self) -> str:
        return f"opaque({self.name})"


@dataclass(frozen=True, slots=True)
class Combination(Rule):
    """Several rules as one."""

    parts: tuple[Rule, ...]

    def __post_init__(self) -> None:
        if not self.parts:
            raise ValueError("a combination needs a rule to combine")

    @property
    def readable(self) -> bool:
        return all(part.readable for part in self.parts)

    def leaves(self) -> tuple[Rule, ...]:
        return tuple(leaf for part in self.parts for leaf in part.leaves())


@dataclass(frozen=True, slots=True)
class AllOf(Combination):
    """A query sees a key if every part lets it. Build with `all_of` or `&`."""

    kind: ClassVar[str] = "all_of"
    form: ClassVar[Mapping[str, Form]] = {"all_of": Parts()}

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "all"}

    def visible(self, at: Grid) -> BoolArray:
        return _folded(np.logical_and, [part.visible(at) for part in self.parts])

    def reasons(self, at: Grid) -> ByteArray:
        return sealed(reduce(np.bitwise_or, [part.reasons(at) for part in self.parts]), np.uint8)

    def extents(self, size: Lengths) -> Extents | None:
        found = Extents.between(size)
        for part in self.parts:
            own = part.extents(size)
            if own is None:
                return None
            found = found & own
        return found

    def of_row(self, row: int) -> Rule:
        return all_of(*(part.of_row(row) for part in self.parts))

    def __str__(self) -> str:
        return " ∧ ".join(f"({part})" if isinstance(part, AnyOf) else str(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class AnyOf(Combination):
    """A query sees a key if one part lets it. Build with `any_of` or `|`."""

    kind: ClassVar[str] = "any_of"
    form: ClassVar[Mapping[str, Form]] = {"any_of": Parts()}

    def clause(self, row: int) -> dict[str, Any]:
        return {"kind": "any"}

    def visible(self, at: Grid) -> BoolArray:
        return _folded(np.logical_or, [part.visible(at) for part in self.parts])

    def reasons(self, at: Grid) -> ByteArray:
        readable = [part for part in self.parts if part.readable]
        if not readable:
            return np.zeros((1, 1, 1, 1), dtype=np.uint8)
        blocked = ~_folded(np.logical_or, [part.visible(at) for part in readable])
        # An exception that does not apply is no reason: what it was an exception from is.
        main = [part for part in readable if not part.exception] or readable
        why = reduce(np.bitwise_or, [part.reasons(at) for part in main])
        return sealed(np.where(blocked, why, 0), np.uint8)

    def of_row(self, row: int) -> Rule:
        return any_of(*(part.of_row(row) for part in self.parts))

    def __str__(self) -> str:
        return " ∨ ".join(f"({part})" if isinstance(part, AllOf) else str(part) for part in self.parts)


def all_of(*rules: Rule) -> Rule:
    """The conjunction of rules, flattened, without repetitions and without parts that block nothing."""
    return _joined(AllOf, rules, absorbed=Everything())


def any_of(*rules: Rule) -> Rule:
    """The disjunction of rules, flattened and without repetitions."""
    if any(isinstance(rule, Everything) for rule in rules):
        return Everything()
    return _joined(AnyOf, rules, absorbed=None)


def _joined(kind: type[AllOf] | type[AnyOf], rules: tuple[Rule, ...], absorbed: Rule | None) -> Rule:
    flat: list[Rule] = []
    for rule in rules:
        for part in rule.parts if isinstance(rule, kind) else (rule,):
            if part != absorbed and part not in flat:
                flat.append(part)
    if not flat:
        return Everything()
    if kind is AllOf:
        flat.sort(key=lambda rule: rule.place)  # stable: rules of one place keep their order
    return flat[0] if len(flat) == 1 else kind(tuple(flat))


def _folded(operation: Callable[[BoolArray, BoolArray], BoolArray], parts: list[BoolArray]) -> BoolArray:
    return reduce(operation, parts)
