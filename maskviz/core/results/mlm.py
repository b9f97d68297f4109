"""The training view of a masked language model: which tokens a collator selects, and what it makes of them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, DoubleArray, IntArray, sealed
from maskviz.core.run.trace import Batch

# The label the loss leaves out (torch's cross entropy, `ignore_index`).
IGNORED = -100


class Fate(IntEnum):
    """What becomes of a token."""

    LEFT = 0  # it could have been selected
    MASKED = 1
    RANDOM = 2
    KEPT = 3
    SPECIAL = 4
    PADDING = 5

    @property
    def selected(self) -> bool:
        """Whether the model is asked for the token."""
        return self in (Fate.MASKED, Fate.RANDOM, Fate.KEPT)


@dataclass(frozen=True, slots=True, eq=False)
class Masked:
    """A batch as one seed of a collator leaves it.

    Attributes:
        batch: The batch before.
        special: bool [batch, token], True where the collator never selects.
        inputs: int64 [batch, token], the ids the model gets.
        labels: int64 [batch, token], the id the model is asked for, `IGNORED` where it is asked for nothing.
        names: Printable tokens of `inputs`, [batch][token].
        mask_id: Id of the mask token.
        seed: The seed.
    """

    batch: Batch
    special: BoolArray
    inputs: IntArray
    labels: IntArray
    names: tuple[tuple[str, ...], ...]
    mask_id: int
    seed: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "special", sealed(self.special, np.bool_))
        for name in ("inputs", "labels"):
            object.__setattr__(self, name, sealed(getattr(self, name), np.int64))
        for array in (self.special, self.inputs, self.labels):
            if array.shape != self.batch.ids.shape:
                raise ValueError(f"{array.shape} does not fit a batch of {self.batch.ids.shape}")

    @property
    def fates(self) -> IntArray:
        """What became of each token, `Fate` [batch, token].

        A random token that happens to be the token itself, or the mask token, cannot be told from one that was kept or
        masked.
        """
        selected = self.labels != IGNORED
        found = np.where(selected, Fate.RANDOM, Fate.LEFT).astype(np.int64)
        found[selected & (self.inputs == self.batch.ids)] = Fate.KEPT
        found[selected & (self.inputs == self.mask_id)] = Fate.MASKED
        found[~selected & self.special] = Fate.SPECIAL
        found[~selected & ~self.batch.keep] = Fate.PADDING
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """How often many seeds of a collator selected each token, and what they made of it.

    Attributes:
        seeds: How many seeds.
        first: The first of them; the others follow it.
        counts: int64 [batch, token] for each fate of a selected token.
        low, high: float64 [batch, token], the interval of the share of seeds that selected a token.
    """

    seeds: int
    first: int
    counts: dict[Fate, IntArray]
    low: DoubleArray
    high: DoubleArray

    @property
    def selected(self) -> IntArray:
        """int64 [batch, token], how many seeds selected a token."""
        total: AnyArray = np.sum(list(self.counts.values()), axis=0)
        return total


@dataclass(frozen=True, slots=True)
class Recipe:
    """How tokens are drawn.

    Attributes:
        probability: Share of tokens that is selected, in [0, 1].
        mask, random: Shares of those that become the mask token and a random one; the others are kept.
        whole_words: Whether all tokens of a word are selected together.
    """

    probability: float
    mask: float
    random: float
    whole_words: bool

    @property
    def kept(self) -> float:
        """Share of the selected tokens that stay what they are."""
        return max(0.0, 1 - self.mask - self.random)
