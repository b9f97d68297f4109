"""What processes found out about their own texts, put together."""

from __future__ import annotations

from typing import Any

import numpy as np

from maskviz.core.arrays import DoubleArray
from maskviz.core.machine import Share
from maskviz.core.results.importance import Effects
from maskviz.core.words import Measure


def gathered_effects(own: Effects, share: Share, count: int) -> Effects:
    """The effects on all texts, the same on every process; each has to call this.

    Args:
        own: What `effects_of` returned for the texts `share.numbers(count)`.
        share: This process.
        count: How many texts there are.
    """
    every = _of_every_process((own.changes, own.plain), share)
    changes, plain = ([one[which] for one in every] for which in (0, 1))
    return Effects(_joined(changes, share, count), _joined(plain, share, count))


def gathered_rows(own: DoubleArray, share: Share, count: int) -> DoubleArray:
    """Rows float64 [text, ...] of all texts in order from those of `share.numbers(count)`; each process calls this."""
    rows = _of_every_process(own, share)
    found = np.full((count, *own.shape[1:]), np.nan)
    for numbers, some in zip(_numbers(share, count), rows, strict=True):
        found[numbers] = some
    return found


def _of_every_process(own: Any, share: Share) -> list[Any]:
    if share.world == 1 or not share.splits:
        return [own]
    from torch import distributed

    every: list[Any] = [None] * share.world
    distributed.all_gather_object(every, own)
    return every


def _numbers(share: Share, count: int) -> list[list[int]]:
    """Numbers of the texts of every process."""
    if not share.splits:
        return [list(share.numbers(count))]
    return [list(Share(rank, share.world).numbers(count)) for rank in range(share.world)]


def _joined(every: list[dict[Measure, DoubleArray]], share: Share, count: int) -> dict[Measure, DoubleArray]:
    """Tables [text, ...] of each measure that any process has; NaN where a text has not."""
    found: dict[Measure, DoubleArray] = {}
    for numbers, tables in zip(_numbers(share, count), every, strict=True):
        for measure, table in tables.items():
            whole = found.setdefault(measure, np.full((count, *table.shape[1:]), np.nan))
            whole[numbers] = table
    return found
