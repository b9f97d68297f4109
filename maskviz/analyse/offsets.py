"""Relative positions (key - query): how much attention falls on each, and where the largest weight lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from maskviz.core.arrays import AnyArray, DoubleArray, IntArray
from maskviz.core.results.head_reading import Measured, OffsetShare
from maskviz.core.run.text_attention import TextAttention

_TOP = 3


@dataclass(frozen=True, slots=True, eq=False)
class Offsets:
    """Sums over the queries that count, by offset; those of some texts add up.

    Attributes:
        first: The offset of the first column.
        weights, uniform: float64 [head, offset], attention on it, and what uniform attention would put there.
        largest: int64 [head, offset], queries whose largest weight lies there.
        able: int64 [head, offset], queries that see a key there.
        queries: int64 [head].
    """

    first: int
    weights: DoubleArray
    uniform: DoubleArray
    largest: IntArray
    able: IntArray
    queries: IntArray


def offsets_of(texts: Sequence[TextAttention]) -> Offsets:
    """Add up the attention of one layer on some texts, whose own tokens are its keys."""
    each = [_of_text(text) for text in texts]
    sums = (np.sum([getattr(one, name) for one in each], axis=0) for name in Offsets.__slots__[1:])
    return Offsets(each[0].first, *sums)


def _of_text(text: TextAttention) -> Offsets:
    """The sums of one text; columns reach from the last token's first key to the first token's last."""
    last, keys = text.positions - 1, text.weights.shape[2]
    columns = np.arange(keys) - text.places[:, None] + last  # [query, key]
    summed = partial(_by_column, columns, last + keys)
    weights = np.where(text.counts[..., None], text.weights, 0.0)
    visible = text.visible & text.counts[..., None]
    top = np.where(text.visible, weights, -1.0).argmax(-1)
    largest = np.arange(keys) == top[..., None]
    return Offsets(
        -last,
        summed(weights),
        summed(text.uniform * text.counts[..., None]),
        summed(largest & text.counts[..., None]).astype(np.int64),
        summed(visible).astype(np.int64),
        text.counts.sum(-1),
    )


def _by_column(columns: IntArray, count: int, cells: AnyArray) -> DoubleArray:
    """Add cells [head, query, key] up by their columns [query, key]: float64 [head, column]."""
    flat = columns.ravel()
    return np.array([np.bincount(flat, head.ravel(), count) for head in cells])


def top_offsets(offsets: Offsets) -> tuple[tuple[OffsetShare, ...], ...]:
    """For each head the offsets of most attention, most first; nothing where no query counts."""
    return tuple(_top_of(offsets, head) for head in range(len(offsets.queries)))


def _top_of(offsets: Offsets, head: int) -> tuple[OffsetShare, ...]:
    if not offsets.queries[head]:
        return ()
    shares = offsets.weights[head] / offsets.queries[head]
    chances = offsets.uniform[head] / offsets.queries[head]
    order = np.argsort(-shares, kind="stable")[:_TOP]
    return tuple(
        OffsetShare(int(place) + offsets.first, float(shares[place]), float(chances[place]))
        for place in order
        if shares[place] > 0
    )


def positional(offsets: Offsets) -> tuple[Measured, IntArray]:
    """How often a head's largest weight lies at its usual offset (Voita et al. 2019, section 5.2.1).

    The usual offset is that of the most queries; where several are, the one most queries see a key at. The share is of
    the queries that see a key there; chance is that of picking it among the keys they see.

    Returns:
        The share, and int64 [head], the offset; 0 where no query counts.
    """
    order = np.lexsort((offsets.able, offsets.largest))  # the last is the usual one
    usual = order[:, -1]
    heads = np.arange(len(usual))
    able = offsets.able[heads, usual]
    with np.errstate(invalid="ignore"):
        share, chance = (one[heads, usual] / able for one in (offsets.largest, offsets.uniform))
    return Measured(share, chance, able), np.where(able > 0, usual + offsets.first, 0)
