"""How far each query sees, without a cell: what a rule lets through as one run of keys per query."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, IntArray
from maskviz.core.rules.algebra import AllOf, Everything, Rule
from maskviz.core.rules.block_kinds import BlockCausal, Prefix
from maskviz.core.rules.kinds import Ahead, Band, Causal, Chunk, Document, Padding, Window


@dataclass(frozen=True, slots=True, eq=False)
class Extents:
    """The keys each query sees: `first <= key < last`, less those that are not kept.

    Attributes:
        first, last: int64 [1 or batch, query]; a query that sees nothing has `last <= first`.
        kept: bool [1 or batch, key], False where no query sees the key (padding); None where all are kept.
        keys: Number of keys.
    """

    first: IntArray
    last: IntArray
    kept: BoolArray | None
    keys: int

    def __and__(self, other: Extents) -> Extents:
        kept = self.kept if other.kept is None else other.kept if self.kept is None else self.kept & other.kept
        return Extents(np.maximum(self.first, other.first), np.minimum(self.last, other.last), kept, self.keys)

    def of_row(self, row: int) -> Extents:
        """The extents of one row of the batch, every array [1, ...]."""

        def chosen(array: AnyArray) -> AnyArray:
            return array[[row % len(array)]]

        kept = None if self.kept is None else chosen(self.kept)
        return Extents(chosen(self.first), chosen(self.last), kept, self.keys)


@dataclass(frozen=True, slots=True)
class Lengths:
    """The size of a mask: queries from `offset` on, over keys from 0 on."""

    queries: int
    keys: int
    offset: int = 0


def extents_of(rule: Rule, size: Lengths) -> Extents | None:
    """Return how far each query sees under a rule, or None where its keys are no single run for each query.

    Linear in queries and keys; no cell is evaluated. Conjunctions of causal, window, ahead, band, chunk, block,
    prefix, document (each in one piece) and padding rules are such; disjunctions, block diffusion, restarted positions
    and masks of the user's own are not asked.
    """
    query = np.arange(size.offset, size.offset + size.queries)[None]
    match rule:
        case AllOf():
            found = extents_of(Everything(), size)
            for part in rule.parts:
                other = extents_of(part, size)
                if found is None or other is None:
                    return None
                found = found & other
            return found
        case Padding():
            return _of_padding(rule, query, size)
        case Document():
            run = _documents(rule.document.array, query)
        case _:
            run = _run(rule, query)
    if run is None:
        return None
    first, last = run
    return Extents(np.clip(first, 0, size.keys), np.clip(last, 0, size.keys), None, size.keys)


def _run(rule: Rule, query: IntArray) -> tuple[IntArray, IntArray] | None:
    """First key seen and first key behind the last one, [1 or batch, query], not cut to the keys there are."""
    before, behind = np.zeros_like(query), np.full_like(query, np.iinfo(np.int64).max)
    match rule:
        case Everything():
            return before, behind
        case Causal():
            return before, query + 1
        case Window():
            return query - rule.size + 1, behind
        case Ahead():
            return before, query + rule.reach + 1
        case Band():
            return query - rule.reach, query + rule.reach + 1
        case Chunk():
            start = rule.start.array[:, None]
            first = (query - start) // rule.size * rule.size + start
            return first, first + rule.size
        case BlockCausal():
            return before, (query // rule.size + 1) * rule.size
        case Prefix():
            return before, np.maximum(query + 1, rule.length.array[:, None])
    return None


def _of_padding(rule: Padding, query: IntArray, size: Lengths) -> Extents:
    keep = rule.keep.array
    tokens = max(size.keys, size.offset + size.queries)
    kept = np.zeros((len(keep), tokens), np.bool_)
    kept[:, : keep.shape[1]] = keep[:, :tokens]
    last = np.where(kept[:, query[0]], size.keys, 0) if rule.queries else np.full_like(query, size.keys)
    return Extents(np.zeros_like(last), last, kept[:, : size.keys], size.keys)


def _documents(ids: IntArray, query: IntArray) -> tuple[IntArray, IntArray] | None:
    """First token and end of each query's document, [batch, query]; None where a document is in several pieces."""
    first, last = np.zeros((len(ids), query.shape[1]), np.int64), np.zeros((len(ids), query.shape[1]), np.int64)
    inside = query[0] < ids.shape[1]  # what lies beyond its end belongs to no document
    for row, own in enumerate(ids):
        starts = np.flatnonzero(np.concatenate([[True], own[1:] != own[:-1]]))
        if len(np.unique(own[starts])) < len(starts):
            return None
        piece = np.searchsorted(starts, query[0, inside], side="right") - 1
        first[row, inside] = starts[piece]
        last[row, inside] = np.append(starts[1:], len(own))[piece]
    return first, last
