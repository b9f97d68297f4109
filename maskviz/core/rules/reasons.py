"""Why a cell of a mask is blocked."""

from __future__ import annotations

from enum import IntFlag

import numpy as np

from maskviz.core.arrays import ByteArray, sealed


class Reason(IntFlag):
    """Reasons a query may not attend to a key, as bits: a cell may carry several.

    The lowest bit set is the one a picture colours a cell by, so that padding, which is a fact of the
    batch, comes before the rules of the model.
    """

    PADDING = 1
    FUTURE = 2
    WINDOW = 4
    CHUNK = 8
    DOCUMENT = 16
    SPARSE = 32
    USER = 64
    OTHER = 128

    @property
    def word(self) -> str:
        """The reason in lower case, as legends, tables and JSON say it."""
        return str(self.name).lower()


# What stands for a place of many cells where it would stand for a cell: some of them are visible.
PARTLY = 255


def primary(reasons: ByteArray) -> ByteArray:
    """Return the lowest reason bit of each cell, 0 where a cell is visible. Same shape, uint8."""
    signed = reasons.astype(np.int16)
    return sealed(signed & -signed, np.uint8)


def shares(reasons: ByteArray) -> dict[Reason, float]:
    """Return the share of cells in [0, 1] blocked for each reason that occurs.

    A cell with two reasons counts for both, so the shares may add up to more than the blocked share.
    """
    if reasons.size == 0:
        return {}
    counts = {reason: int(np.count_nonzero(reasons & reason)) for reason in Reason}
    return {reason: count / reasons.size for reason, count in counts.items() if count}
