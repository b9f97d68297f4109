"""Naming the rule of a mask that came without one, by trying the patterns that are known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.core.arrays import BoolArray, Content
from maskviz.core.rules.algebra import Everything, Grid, Opaque, Rule, all_of, any_of
from maskviz.core.rules.kinds import Extra, Itself, Padding
from maskviz.core.rules.registry import kinds
from maskviz.core.rules.seen import Seen


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
    if not visible.any():
        yield Everything()
        return
    seen = Seen(np.asarray(visible.any(axis=1)), at.query[0, 0, :, 0])
    for kind in kinds():
        yield from kind.guesses(seen)
