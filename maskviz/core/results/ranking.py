"""Heads in order of importance, with how sure the order is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import DoubleArray, IntArray, sealed
from maskviz.core.results.importance import Importance
from maskviz.core.words import Measure


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Means over texts, each weighing the same, and 95 % confidence intervals.

    The interval is Student's t on the texts' values: how far the mean may be from that over all texts of the kind that
    these were drawn from. It says nothing about texts of another kind.

    Attributes:
        mean: float64 [column], NaN where no text has a value.
        low, high: float64 [column], NaN where fewer than two texts have one.
        texts: int64 [column], how many texts have one.
    """

    mean: DoubleArray
    low: DoubleArray
    high: DoubleArray
    texts: IntArray

    def __post_init__(self) -> None:
        for name in ("mean", "low", "high"):
            object.__setattr__(self, name, sealed(getattr(self, name), np.float64))
        object.__setattr__(self, "texts", sealed(self.texts, np.int64))


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two scores order the same sites alike.

    Attributes:
        one, other: What they are, in words.
        correlation: Spearman's rank correlation, NaN where one of them is the same for all.
        overlap: Share of the most important sites in common.
        top: How many of the most important were compared.
    """

    one: str
    other: str
    correlation: float
    overlap: float
    top: int


@dataclass(frozen=True, slots=True, eq=False)
class Ranking:
    """The sites of an `Importance` in order.

    Attributes:
        importance: What was measured.
        order: Numbers of its sites, most important first.
        scores: What the order goes by, columns in the order of the sites.
        changes: Of every measure, the same.
        gradients: Of |dL/d gate|, or None.
        normalised: Whether `scores` were divided by the L2 norm of their layer.
        agreements: Gradients beside exact changes, where there are both.
    """

    importance: Importance
    order: tuple[int, ...]
    scores: Estimate
    changes: Mapping[Measure, Estimate]
    gradients: Estimate | None
    normalised: bool
    agreements: tuple[Agreement, ...] = ()
