"""What silencing heads does, text by text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import DoubleArray, sealed
from maskviz.core.run.heads import Head, HeadMask
from maskviz.core.words import Ablation, Measure, Method


@dataclass(frozen=True, slots=True, order=True)
class Site:
    """What is silenced at once: one query head, or a key head with the query heads that read it.

    Attributes:
        stack: Name of its stack.
        layer: Layer within the stack.
        heads: Its query heads.
        key_head: The key head they share where that is silenced, else None.
    """

    stack: str
    layer: int
    heads: tuple[int, ...]
    key_head: int | None = None

    @property
    def column(self) -> int:
        """Its place in its layer: the number of the head, or of the key head."""
        return self.heads[0] if self.key_head is None else self.key_head

    def __str__(self) -> str:
        name = str(Head(self.layer, self.column))
        return name if self.key_head is None else f"kv:{name}"


@dataclass(frozen=True, slots=True, eq=False)
class Effects:
    """What head masks do to texts, each beside the plain run of the same text.

    Attributes:
        changes: For each measure that the model's outputs allow, float64 [text, mask], how much is lost: the loss
            that is added (nats per token), the divergence (nats), the share of places whose first answer changes,
            places the right token falls in the ranking, the change of a score, or 1 minus the cosine.
        plain: float64 [text] for measures that the plain run has a value of by itself: its loss, and the mean rank
            of the right token (1 is the first).
    """

    changes: Mapping[Measure, DoubleArray]
    plain: Mapping[Measure, DoubleArray]

    def __post_init__(self) -> None:
        for name in ("changes", "plain"):
            arrays = {measure: sealed(array, np.float64) for measure, array in getattr(self, name).items()}
            object.__setattr__(self, name, arrays)


@dataclass(frozen=True, slots=True, eq=False)
class Importance:
    """How much each head of a model matters for some texts.

    Attributes:
        sites: What was silenced.
        effects: What that did, masks in the order of the sites; empty of measures by gradient alone.
        gradients: float64 [text, site], |dL/d gate| at open gates (Michel et al. 2019, equation 2), or None.
        method: What the ranking goes by.
        measure: The measure of `effects` it goes by.
        ablation: What took the place of a silenced head's output.
        base: Heads that were silenced all along, or None.
        tokens: Tokens of each text.
        notes: Sentences for the reader.
    """

    sites: tuple[Site, ...]
    effects: Effects
    gradients: DoubleArray | None
    method: Method
    measure: Measure
    ablation: Ablation
    base: HeadMask | None = None
    tokens: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def scores(self) -> DoubleArray:
        """float64 [text, site], what the ranking goes by."""
        if self.method is Method.GRADIENT and self.gradients is not None:
            return self.gradients
        return self.effects.changes[self.measure]
