"""The rules of masks that look ahead on purpose: whole blocks, a prefix, the two halves of block diffusion."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from maskviz.core.arrays import BoolArray, ByteArray, Content, IntArray, sealed
from maskviz.core.rules.algebra import Grid, Leaf, Rule
from maskviz.core.rules.reasons import Reason


@dataclass(frozen=True, slots=True)
class BlockCausal(Leaf):
    """A query sees its whole block of `size` tokens and all earlier blocks: `key // size <= query // size`."""

    place: ClassVar[int] = 0

    size: int

    def __post_init__(self) -> None:
        _check(f"block({self.size})", self.size)

    @property
    def reason(self) -> Reason:
        return Reason.FUTURE

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray(at.key // self.size <= at.query // self.size)

    def __str__(self) -> str:
        return f"block({self.size})"


@dataclass(frozen=True, slots=True)
class Prefix(Leaf):
    """A query sees the whole prefix, itself and what came before: `key < length or key <= query`.

    Attributes:
        length: int64 [batch], tokens of each row's prefix.
    """

    place: ClassVar[int] = 0

    length: Content

    def __post_init__(self) -> None:
        if (self.length.array < 0).any():
            raise ValueError(f"{self} has a negative length")

    @property
    def reason(self) -> Reason:
        return Reason.FUTURE

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray((at.key < self.length.array[at.batch % len(self.length.array)]) | (at.key <= at.query))

    def __str__(self) -> str:
        least, most = int(self.length.array.min()), int(self.length.array.max())
        return f"prefix({least})" if least == most else f"prefix({least}-{most})"


@dataclass(frozen=True, slots=True)
class BlockDiffusion(Rule):
    """The training mask of block diffusion (BD3-LM, arXiv 2503.09573): a row is `length` noisy tokens and the same
    tokens clean, both in blocks of `size`.

    A noisy query sees its own noisy block and the clean tokens of strictly earlier blocks, a clean query the clean
    tokens of its own and earlier blocks.
    """

    place: ClassVar[int] = 0

    size: int
    length: int

    def __post_init__(self) -> None:
        _check(str(self), min(self.size, self.length))

    def block_of(self, places: IntArray) -> IntArray:
        """The number of the block each position is in, in its own half."""
        return np.asarray(np.where(places < self.length, places, places - self.length) // self.size)

    def visible(self, at: Grid) -> BoolArray:
        own, other = self.block_of(at.query), self.block_of(at.key)
        of_noisy = np.where(at.key < self.length, other == own, other < own)
        return np.asarray(np.where(at.query < self.length, of_noisy, (at.key >= self.length) & (other <= own)))

    def reasons(self, at: Grid) -> ByteArray:
        later = self.block_of(at.key) > self.block_of(at.query)
        why = np.where(later, int(Reason.FUTURE), int(Reason.SPARSE))
        return sealed(np.where(self.visible(at), 0, why), np.uint8)

    def __str__(self) -> str:
        return f"diffusion({self.size}, {self.length})"


def _check(name: str, size: int) -> None:
    if size < 1:
        raise ValueError(f"{name} holds no token")
