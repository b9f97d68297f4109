"""Whether texts that share a row see each other: measured on a trace."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskviz.core.run.trace import Trace


@dataclass(frozen=True, slots=True)
class Crossing:
    """What crosses from one packed text to another.

    Attributes:
        cells: Visible cells whose query and key are real tokens of different texts, over all calls.
        attention: For each text the share in [0, 1] of its attention that falls on other texts, as the mean over its
            queries, all heads and all calls; empty where no call has attention.
    """

    cells: int
    attention: tuple[float, ...]

    @property
    def separated(self) -> bool:
        """Whether no text may see another, and none does."""
        return self.cells == 0 and not any(self.attention)


def crossing_of(trace: Trace) -> Crossing | None:
    """Measure what crosses between the texts of a packed row; None where nothing is packed."""
    documents = trace.batch.documents
    if documents is None:
        return None
    real = trace.batch.keep
    apart = documents[:, :, None] != documents[:, None, :]
    other = (apart & real[:, :, None] & real[:, None, :])[:, None]  # [batch, 1, query, key]
    calls = [call for call in trace.calls if call.mask.visible.shape[2:] == other.shape[2:]]
    cells = sum(int((call.mask.visible & other).sum()) for call in calls)
    # [batch, query]: the mean over heads of what a query gives to other texts, one for each call
    given = [np.where(other, call.pattern, 0).sum(-1).mean(1) for call in calls if call.pattern is not None]
    if not given:
        return Crossing(cells, ())
    mean = np.stack(given).mean(axis=0, dtype=np.float64)
    texts = np.unique(documents[real])
    return Crossing(cells, tuple(float(mean[(documents == text) & real].mean()) for text in texts))
