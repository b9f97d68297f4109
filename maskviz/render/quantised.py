"""Attention weights as bytes: a ladder of levels that is fine near zero, where most weights are."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskviz.core.arrays import ByteArray, FloatArray

Levels = NDArray[np.float64]

# The byte of what is no finite number.
NOT_A_NUMBER = 255
# Levels near zero are the squares of k / fineness, and no step is larger than 1 / coarsest of the scale: large weights
# are rare and cost little. The first of these pairs whose bytes are few enough is taken.
_LADDERS = ((255, 192), (180, 192), (127, 192), (90, 192), (63, 160), (45, 128), (31, 96), (22, 80), (15, 64))
# Weights that are deflated to tell how large all of them will be.
_TRIED = 600_000


@dataclass(frozen=True, slots=True, eq=False)
class Ladder:
    """The levels weights are rounded to.

    Attributes:
        levels: float64 [level], ascending from 0; at most 255.
        errors: float64 [level], how far a weight may be from the level it was rounded to.
    """

    levels: Levels
    errors: Levels

    @classmethod
    def of(cls, fineness: int, coarsest: int, top: float) -> Ladder | None:
        """The ladder up to `top`, the largest weight; None where it would have too many levels."""
        size = max(1.0, top)
        levels = [0.0]
        while levels[-1] < top and len(levels) < NOT_A_NUMBER:
            square = (len(levels) / fineness) ** 2 * size
            levels.append(min(square, levels[-1] + size / coarsest))
        if levels[-1] < top:
            return None
        exact = np.array(levels)
        exact[-1] = top  # what is largest is often a whole, and said exactly
        gaps = np.diff(exact, prepend=0.0, append=exact[-1])
        half = np.maximum(gaps[:-1], gaps[1:]) / 2
        return cls(exact, half + exact * 2.0**-11)  # weights are looked up as float16

    def codes(self, values: FloatArray) -> ByteArray:
        """Return uint8, same shape: the nearest level of each weight, `NOT_A_NUMBER` for what is not finite."""
        every = np.arange(2**16, dtype=np.uint16).view(np.float16).astype(np.float64)
        middles = (self.levels[1:] + self.levels[:-1]) / 2
        found = np.where(np.isfinite(every), np.searchsorted(middles, np.nan_to_num(every)), NOT_A_NUMBER)
        with np.errstate(over="ignore"):
            halves = values.astype(np.float16)
        table: ByteArray = found.astype(np.uint8)
        return table[halves.view(np.uint16)]

    def values(self, codes: ByteArray) -> Levels:
        """Return float64, same shape: the weights codes stand for, NaN for `NOT_A_NUMBER`."""
        table = np.full(256, np.nan)
        table[: len(self.levels)] = self.levels
        return np.asarray(table[codes])


def ladder_for(patterns: Sequence[FloatArray], most: int) -> Ladder:
    """The finest ladder with which all patterns, deflated, take at most about `most` bytes; else the coarsest.

    Args:
        patterns: float32 [text, head, query, key] each.
        most: Bytes.
    """
    top = max((float(np.nanmax(np.where(np.isfinite(one), one, 0.0))) for one in patterns if one.size), default=1.0)
    cells = sum(one.size for one in patterns)
    maps = max(1, sum(one.shape[0] * one.shape[1] for one in patterns))
    ladder = Ladder.of(*_LADDERS[-1], top)
    for fineness, coarsest in _LADDERS:
        found = Ladder.of(fineness, coarsest, top)
        if found is None:
            continue
        tried = [_middle_rows(one, _TRIED // maps) for one in patterns]
        size = sum(len(deflated(found.codes(one).tobytes())) for one in tried if one.size)
        if size * cells <= most * max(1, sum(one.size for one in tried)):
            return found
        ladder = found
    assert ladder is not None, "the coarsest ladder has few levels"
    return ladder


def _middle_rows(pattern: FloatArray, cells: int) -> FloatArray:
    """Some rows of each map, from its middle."""
    queries, keys = pattern.shape[2:]
    rows = min(queries, max(1, cells // max(1, keys)))
    first = (queries - rows) // 2
    return pattern[:, :, first : first + rows]


def deflated(content: bytes) -> bytes:
    """Raw deflate, by repetitions or by frequencies alone, whichever is shorter."""
    return min((_deflated(content, strategy) for strategy in (zlib.Z_DEFAULT_STRATEGY, zlib.Z_HUFFMAN_ONLY)), key=len)


def _deflated(content: bytes, strategy: int) -> bytes:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15, 9, strategy)
    return compressor.compress(content) + compressor.flush()
