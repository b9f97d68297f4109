"""The rules masks are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, ByteArray, Content, IntArray
from maskviz.core.rules.algebra import Grid, Leaf, Rule
from maskviz.core.rules.reasons import Reason


@dataclass(frozen=True, slots=True)
class Causal(Leaf):
    """A query sees itself and what came before: `key <= query`."""

    place: ClassVar[int] = 0

    @property
    def reason(self) -> Reason:
        return Reason.FUTURE

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray(at.key <= at.query)

    def __str__(self) -> str:
        return "causal"


@dataclass(frozen=True, slots=True)
class Window(Leaf):
    """A query sees the last `size` tokens, its own included, and all that follow: `query - key < size`."""

    place: ClassVar[int] = 1

    size: int

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ValueError(f"window({self.size}) has a negative size")

    @property
    def reason(self) -> Reason:
        return Reason.WINDOW

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray(at.query - at.key < self.size)

    def __str__(self) -> str:
        return f"window({self.size})"


@dataclass(frozen=True, slots=True)
class Ahead(Leaf):
    """A query sees what came before and at most `reach` tokens after it: `key - query <= reach`."""

    place: ClassVar[int] = 1

    reach: int

    @property
    def reason(self) -> Reason:
        return Reason.WINDOW

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray(at.key - at.query <= self.reach)

    def __str__(self) -> str:
        return f"ahead({self.reach})"


@dataclass(frozen=True, slots=True)
class Band(Leaf):
    """A query sees at most `reach` tokens to either side: `|query - key| <= reach`."""

    place: ClassVar[int] = 1

    reach: int

    @property
    def reason(self) -> Reason:
        return Reason.WINDOW

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray(np.abs(at.query - at.key) <= self.reach)

    def __str__(self) -> str:
        return f"window(±{self.reach})"


@dataclass(frozen=True, slots=True)
class Itself(Leaf):
    """A query sees its own position: `query == key`."""

    exception: ClassVar[bool] = True

    @property
    def reason(self) -> Reason:
        return Reason.SPARSE

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray(at.query == at.key)

    def __str__(self) -> str:
        return "itself"


@dataclass(frozen=True, slots=True)
class Extra(Leaf):
    """A query sees every key from `first` on: keys of the model's own behind those of the text."""

    exception: ClassVar[bool] = True

    first: int

    @property
    def reason(self) -> Reason:
        return Reason.SPARSE

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray((at.key >= self.first) & (at.query >= 0))

    def __str__(self) -> str:
        return "extra keys"


@dataclass(frozen=True, slots=True)
class Chunk(Leaf):
    """A query sees its own chunk of `size` tokens: `(query - start) // size == (key - start) // size`.

    Attributes:
        size: Tokens in a chunk.
        start: int64 [batch], position of the first chunk's first token (the left padding of a row).
    """

    place: ClassVar[int] = 1

    size: int
    start: Content

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"chunk({self.size}) holds no token")

    @property
    def reason(self) -> Reason:
        return Reason.CHUNK

    def visible(self, at: Grid) -> BoolArray:
        start = self.start.array[at.batch]
        return np.asarray((at.query - start) // self.size == (at.key - start) // self.size)

    def __str__(self) -> str:
        return f"chunk({self.size})"


@dataclass(frozen=True, slots=True)
class Padding(Leaf):
    """A query sees keys that are no padding: `keep[batch, key]`.

    Attributes:
        keep: bool [batch, token], False = padding. Positions beyond its end are not kept.
        queries: True where the model also blocks the whole row of a padding query.
    """

    place: ClassVar[int] = 3

    keep: Content
    queries: bool = False

    @property
    def reason(self) -> Reason:
        return Reason.PADDING

    def visible(self, at: Grid) -> BoolArray:
        kept = _looked_up(self.keep.array, at.batch, at.key, beyond=False)
        if self.queries:
            kept = kept & _looked_up(self.keep.array, at.batch, at.query, beyond=False)
        return kept

    def __str__(self) -> str:
        return "padding(keys, queries)" if self.queries else "padding"


@dataclass(frozen=True, slots=True)
class Document(Leaf):
    """A query sees its own document: `document[batch, query] == document[batch, key]`.

    Attributes:
        document: int64 [batch, token], the document a token belongs to.
    """

    document: Content

    @property
    def reason(self) -> Reason:
        return Reason.DOCUMENT

    def visible(self, at: Grid) -> BoolArray:
        ids = self.document.array
        own = _looked_up(ids, at.batch, at.query, beyond=-1)
        return np.asarray(own == _looked_up(ids, at.batch, at.key, beyond=-2))

    def __str__(self) -> str:
        return "document"


@dataclass(frozen=True, slots=True)
class Span(Leaf):
    """Tokens of one span see each other: `span[batch, query] == span[batch, key] >= 0`.

    Attributes:
        span: int64 [batch, token], the span (such as an image) a token belongs to, -1 for none.
    """

    exception: ClassVar[bool] = True

    span: Content

    @property
    def reason(self) -> Reason:
        return Reason.OTHER

    def visible(self, at: Grid) -> BoolArray:
        own = _looked_up(self.span.array, at.batch, at.query, beyond=-1)
        return np.asarray((own >= 0) & (own == _looked_up(self.span.array, at.batch, at.key, beyond=-1)))

    def __str__(self) -> str:
        return "same span"


@dataclass(frozen=True, slots=True)
class UserMask(Leaf):
    """A query sees what a mask of the user's own lets it see: `cells[batch, head, query, key]`.

    Attributes:
        cells: bool [batch or 1, head or 1, query or 1, key], True = may attend; an axis of 1 stands for all. What lies
            beyond its end is not seen. With heads, what the rule returns has a head axis too.
    """

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

    def __str__(self) -> str:
        return "user mask"


@dataclass(frozen=True, slots=True)
class Repositioned(Rule):
    """A rule that is asked about a token's own position instead of its index, as in packed sequences.

    Attributes:
        rule: The rule asked.
        position: int64 [batch, token], the position each index stands for.
    """

    place: ClassVar[int] = 1

    rule: Rule
    position: Content

    def asked_at(self, at: Grid) -> Grid:
        """The positions of the tokens of a grid, at which the rule is asked."""
        return Grid(
            at.batch,
            _looked_up(self.position.array, at.batch, at.query, beyond=0),
            _looked_up(self.position.array, at.batch, at.key, beyond=0),
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

    def __str__(self) -> str:
        return str(self.rule)


def _looked_up(table: AnyArray, batch: IntArray, index: IntArray, beyond: int) -> AnyArray:
    """`table[batch, index]`, with `beyond` for an index past the table's end."""
    inside = index < table.shape[1]
    found = table[batch, np.minimum(index, table.shape[1] - 1)]
    return np.asarray(np.where(inside, found, table.dtype.type(beyond)))
