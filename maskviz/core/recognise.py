"""Naming the rule of a mask that came without one, by trying the patterns that are known."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.core.algebra import Everything, Grid, Opaque, Rule, all_of, any_of
from maskviz.core.arrays import BoolArray, Content
from maskviz.core.rules import Band, Causal, Itself, Padding, Window


def recognise(visible: BoolArray, keep: BoolArray | None, query_offset: int = 0) -> Rule:
    """Return the first known rule that explains every cell of a mask, or Opaque("unrecognised").

    Args:
        visible: bool [batch, 1 or head, query, key], True = may attend.
        keep: bool [batch, key], False = padding; None where the padding is not known.
        query_offset: Position of the first query.

    A window is only claimed where it blocks a cell: 10 tokens cannot tell window(4096) from none.
    """
    batch, _, queries, keys = visible.shape
    at = Grid.of(batch, queries, keys, query_offset)
    for rule in _candidates(visible, keep, at):
        if (np.broadcast_to(rule.visible(at), at.shape) == visible).all():
            return rule
    return Opaque("unrecognised")


def _candidates(visible: BoolArray, keep: BoolArray | None, at: Grid) -> Iterator[Rule]:
    paddings: list[Rule] = [Everything()]
    if keep is not None and not keep.all():
        content = Content(keep, np.bool_)
        kept = Padding(content)
        paddings = [kept, Padding(content, queries=True), Everything(), any_of(kept, Itself())]
    distance = np.broadcast_to(at.query - at.key, at.shape)
    seen = distance[np.broadcast_to(visible.any(axis=1, keepdims=True), at.shape)]
    patterns: list[Rule] = [Everything(), Causal()]
    if seen.size:
        behind, around = int(seen.max()), int(np.abs(seen).max())
        patterns += [all_of(Causal(), Window(behind + 1))] if behind >= 0 else []
        patterns.append(Band(around))
    for pattern in patterns:
        for padding in paddings:
            yield all_of(pattern, padding)
