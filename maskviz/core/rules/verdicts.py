"""What a rule answers of some cells: the numbers its kind makes sentences of."""

from __future__ import annotations

from dataclasses import dataclass

from maskviz.core.rules.reasons import Reason
from maskviz.core.writing import ranges


@dataclass(frozen=True, slots=True)
class Ends:
    """Consecutive numbers, both ends among them."""

    first: int
    last: int

    def __str__(self) -> str:
        return str(self.first) if self.first == self.last else f"{self.first}-{self.last}"

    @property
    def single(self) -> bool:
        """Whether it is one number."""
        return self.first == self.last

    @property
    def verb(self) -> str:
        """`is` or `are`."""
        return "is" if self.single else "are"

    @property
    def distance(self) -> str:
        """As a span of distances is said: `2 to 5`."""
        return str(self.first) if self.single else f"{self.first} to {self.last}"

    def of(self, word: str, moved: bool = False) -> str:
        """The numbers with what they number: `query 3`, `queries 3-5`, `keys at positions 0-2`."""
        name = word if self.single else f"{word[:-1]}ies" if word.endswith("ry") else f"{word}s"
        return f"{name} at position{'' if self.single else 's'} {self}" if moved else f"{name} {self}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a rule, or a part of one, says of some cells, of which it says the same.

    Attributes:
        holds: Whether it lets the queries see the keys; None where that cannot be read.
        reasons: Why it blocks them; none where it does not.
        query, key: The positions it was asked about.
        moved: Whether these are a token's own positions and not its number in the row.
        query_pieces, key_pieces: Numbers of the pieces the queries and keys are in, as `Rule.pieces` says them.
        needed: The least number in the rule's place that lets the queries see the keys, as `Rule.needed` says it.
    """

    holds: bool | None
    reasons: Reason
    query: Ends
    key: Ends
    moved: bool = False
    query_pieces: tuple[int, ...] = ()
    key_pieces: tuple[int, ...] = ()
    needed: int | None = None

    @property
    def queries(self) -> str:
        """The queries by name, such as `query 3`."""
        return self.query.of("query", self.moved)

    @property
    def keys(self) -> str:
        """The keys by name."""
        return self.key.of("key", self.moved)

    @property
    def single(self) -> bool:
        """Whether it is one cell."""
        return self.query.single and self.key.single

    @property
    def it(self) -> str:
        """`it` or `them all`: the cells."""
        return "it" if self.single else "them all"

    @property
    def behind(self) -> Ends:
        """How far the keys lie behind the queries."""
        return Ends(self.query.first - self.key.last, self.query.last - self.key.first)


def of_pieces(verdict: Verdict, word: str) -> str:
    """Why cells may or may not be seen by a rule that lets pieces of one kind see themselves."""
    ours, theirs = (_numbered(word, pieces) for pieces in (verdict.query_pieces, verdict.key_pieces))
    if verdict.holds and ours == theirs:
        return f"{verdict.queries} and {verdict.keys} are of {ours}"
    return f"{verdict.queries} {verdict.query.verb} of {ours}, {verdict.keys} of {theirs}"


def _numbered(word: str, pieces: tuple[int, ...]) -> str:
    known = [piece + 1 for piece in pieces if piece >= 0]
    if not known:
        return f"no {word}"
    said = f"{word}{'s' if len(known) > 1 else ''} {ranges(known)}"
    return said if len(known) == len(pieces) else f"{said} or none"


def of_blocks(verdict: Verdict, ours: str, theirs: str) -> str:
    """Why cells may or may not be seen by a rule of blocks in a row, by the names of the blocks both are in."""
    if ours == theirs:
        said = f"{verdict.keys} and {verdict.queries} are in {ours}"
    else:
        said = f"{verdict.keys} {verdict.key.verb} in {theirs}, {verdict.queries} in {ours}"
    return said if verdict.holds or not verdict.reasons & Reason.FUTURE else f"{said}: future"
