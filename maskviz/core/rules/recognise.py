"""Naming the rule of a mask that came without one, by trying the patterns that are known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.core.arrays import BoolArray, Content, IntArray
from maskviz.core.rules.algebra import Everything, Grid, Opaque, Rule, all_of, any_of
from maskviz.core.rules.block_kinds import BlockCausal, BlockDiffusion, Prefix
from maskviz.core.rules.kinds import Band, Causal, Chunk, Extra, Itself, Padding, Window


def recognise(
    visible: BoolArray, keep: BoolArray | None, query_offset: int = 0, meaningful: BoolArray | None = None
) -> Rule:
    """Return the first known rule that explains every cell of a mask, or Opaque("unrecognised").

    Args:
        visible: bool [batch, 1 or head, query, key], True = may attend.
        keep: bool [batch, token], False = padding; None where the padding is not known. Keys behind its end are no
            tokens of the text.
        query_offset: Position of the first query.
        meaningful: bool [batch, query], False for queries whose row says nothing; None where all rows do.

    A window is only claimed where it blocks a cell: 10 tokens cannot tell window(4096) from none.
    """
    batch, heads, queries, keys = visible.shape
    at = Grid.of(batch, queries, keys, query_offset)
    rows = np.ones((batch, queries), np.bool_) if meaningful is None else meaningful
    asked = np.broadcast_to(rows[:, None, :, None], (batch, heads, queries, keys))
    for rule in _candidates(visible & asked, keep, at):
        if not ((np.broadcast_to(rule.visible(at), at.shape) != visible) & asked).any():
            return rule
    return Opaque("unrecognised")


def _candidates(visible: BoolArray, keep: BoolArray | None, at: Grid) -> Iterator[Rule]:
    tokens = at.shape[3] if keep is None else min(keep.shape[1], at.shape[3])
    more: list[Rule] = [Extra(tokens)] if tokens < at.shape[3] else []
    for pattern in _patterns(visible[..., :tokens], Grid(at.batch, at.query, at.key[..., :tokens])):
        for padding in _paddings(visible, keep, at):
            yield all_of(any_of(pattern, *more), padding)


def _paddings(visible: BoolArray, keep: BoolArray | None, at: Grid) -> list[Rule]:
    if keep is None:  # tokens of another axis, such as pooled ones: what no query of a row sees is its padding
        columns = visible.any(axis=(1, 2))
        return [Everything()] if columns.all() else [Everything(), Padding(Content(columns, np.bool_))]
    if keep.all():
        return [Everything()]
    behind = np.ones((keep.shape[0], max(0, at.shape[3] - keep.shape[1])), np.bool_)
    content = Content(np.concatenate([keep, behind], axis=1), np.bool_)
    kept = Padding(content)
    return [kept, Padding(content, queries=True), Everything(), any_of(kept, Itself())]


def _patterns(visible: BoolArray, at: Grid) -> Iterator[Rule]:
    """Patterns that could let through what is seen, the plainest first."""
    yield Everything()
    yield Causal()
    seen: BoolArray = np.asarray(visible.any(axis=1))  # [batch, query, key]
    rows, queries = np.nonzero(seen.any(axis=-1))
    if not len(rows):
        return
    place, keys = at.query[0, 0, queries, 0], at.key[0, 0, 0]
    first, last = seen.argmax(axis=-1), seen.shape[-1] - 1 - seen[..., ::-1].argmax(axis=-1)
    behind = int((place - keys[first[rows, queries]]).max())
    ahead = int((keys[last[rows, queries]] - place).max())
    if behind >= 0:
        yield all_of(Causal(), Window(behind + 1))
    yield Band(max(abs(behind), abs(ahead)))
    yield from _chunks(visible, at)
    yield from _looking_ahead(seen, at)


def _chunks(visible: BoolArray, at: Grid) -> Iterator[Rule]:
    """Chunks as long as the most that a query sees, starting where the first query's chunk says."""
    seen: BoolArray = np.asarray(visible.any(axis=1))
    size = int(seen.sum(axis=-1).max())
    longest = int(seen.any(axis=1).sum(axis=-1).argmax())
    first = np.flatnonzero(seen[longest].any(axis=-1))
    if not 1 < size < at.shape[3] or not len(first):
        return
    query = int(first[0])
    end = int(np.flatnonzero(seen[longest, query])[-1])
    start = Content(np.full(at.shape[0], (end + 1) % size), np.int64)
    yield Chunk(size, start)
    # Where queries do not see ahead, the last chunk of a row starts at the first key its last queries see.
    starts = np.where(seen.any(axis=-1), seen.argmax(axis=-1), 0).max(axis=1) % size
    yield all_of(Causal(), Chunk(size, Content(starts, np.int64)))


def _looking_ahead(seen: BoolArray, at: Grid) -> Iterator[Rule]:
    """Prefixes, whole blocks and block diffusion that could let through what is seen, bool [batch, query, key].

    A prefix is tried before blocks: a block and one token behind it are a prefix.
    """
    keys, place = at.shape[3], at.query[0, 0, :, 0]
    ends = np.where(seen.any(axis=-1), keys - seen[..., ::-1].argmax(axis=-1), 0)  # [batch, query], 0 for a blind query
    ahead = np.where(ends > place + 1, ends, 0).max(axis=1)
    if ahead.any():
        yield from (Prefix(Content(length, np.int64)) for length in (np.full_like(ahead, ahead.max()), ahead))
    for size in _block_sizes(ends, keys):
        yield BlockCausal(size)
    if at.shape[2] == keys and not keys % 2 and place[0] == 0:
        length = keys // 2
        size = int(seen[:, :length, :length].sum(axis=-1).max())
        if size:
            yield BlockDiffusion(size, length)


def _block_sizes(ends: IntArray, keys: int) -> list[int]:
    """Sizes that blocks may have whose queries see as far as `ends` [batch, query].

    Ends within the text are multiples. Where padding hides the first of them, the next is one block on, and as many
    queries as a block has tokens see the first.
    """
    sizes: set[int] = set()
    for row in ends:
        found, counts = np.unique(row[row > 0], return_counts=True)
        if len(found) > 1:
            sizes |= {int(np.gcd.reduce(found[:-1])), int(np.diff(found).min()), int(counts[0])}
    return sorted((size for size in sizes if 1 < size < keys), reverse=True)
