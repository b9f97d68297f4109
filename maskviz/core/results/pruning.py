"""What removing more and more heads does, and which of them were chosen to go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from maskviz.core.arrays import DoubleArray, sealed
from maskviz.core.results.importance import Site
from maskviz.core.run.heads import HeadMask
from maskviz.core.words import Ablation, Measure, Method


class Order(StrEnum):
    """In which order heads are removed."""

    RANKED = "least important first"
    RANDOM = "random"
    REVERSED = "most important first"


@dataclass(frozen=True, slots=True, eq=False)
class PruningLine:
    """Heads removed step by step in one order, all at once at each step.

    Attributes:
        order: The order.
        seed: Of a random order, else None.
        masks: The head mask of each step; the first removes nothing.
        changes: For each measure float64 [text, step], how much is lost beside the plain run, as in `Effects`.
    """

    order: Order
    seed: int | None
    masks: tuple[HeadMask, ...]
    changes: Mapping[Measure, DoubleArray]

    def __post_init__(self) -> None:
        changes = {measure: sealed(array, np.float64) for measure, array in self.changes.items()}
        object.__setattr__(self, "changes", changes)


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """The heads chosen to go.

    Attributes:
        mask: 1 keeps a head, 0 removes it.
        removed: The sites that go, in the order they were removed.
        kept: Share of sites that stay, in [0, 1].
        changes: For each measure float64 [text], what removing them together does.
        why: What was asked for, such as "keeps 0.6 of the heads".
    """

    mask: HeadMask
    removed: tuple[Site, ...]
    kept: float
    changes: Mapping[Measure, DoubleArray]
    why: str

    def __post_init__(self) -> None:
        changes = {measure: sealed(array, np.float64) for measure, array in self.changes.items()}
        object.__setattr__(self, "changes", changes)


@dataclass(frozen=True, slots=True, eq=False)
class Pruning:
    """A pruning curve with its controls.

    Attributes:
        sites: What can be removed.
        removed: Sites removed at each step, from 0.
        lines: By importance, reversed, and one random line for each seed.
        plain: float64 [text] for measures the plain run has a value of by itself, as in `Effects`.
        measure: The measure the curve is drawn for.
        ablation: What took the place of a removed head's output.
        by: What the ranking goes by.
        reranked: Whether the heads that were left were ranked anew at each step.
        chosen: The heads chosen to go, or None where none were asked for.
        tokens: Tokens of each text.
        notes: Sentences for the reader.
    """

    sites: tuple[Site, ...]
    removed: tuple[int, ...]
    lines: tuple[PruningLine, ...]
    plain: Mapping[Measure, DoubleArray]
    measure: Measure
    ablation: Ablation
    by: Method
    reranked: bool
    chosen: Chosen | None = None
    tokens: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        plain = {measure: sealed(array, np.float64) for measure, array in self.plain.items()}
        object.__setattr__(self, "plain", plain)

    def of(self, order: Order) -> tuple[PruningLine, ...]:
        """The lines of one order."""
        return tuple(line for line in self.lines if line.order is order)
