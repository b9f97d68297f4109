"""A mask on its way from one dialect to another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import BoolArray, sealed
from maskviz.core.rules.algebra import Rule
from maskviz.core.words import Dialect


@dataclass(frozen=True, slots=True)
class Written:
    """What a mask is in a file.

    Attributes:
        dialect: How it is read there.
        shape: Its axes.
        dtype: Its type.
    """

    dialect: Dialect
    shape: tuple[int, ...]
    dtype: str

    def __str__(self) -> str:
        return f"{self.dtype} {list(self.shape)}"


@dataclass(frozen=True, slots=True, eq=False)
class Converted:
    """A mask that was read, and what it is to become.

    Attributes:
        name: The file.
        source: What it is there.
        target: What it becomes; None where it becomes code.
        visible: bool [batch or 1, head or 1, query or 1, key], True = may attend.
        rule: What explains every cell, or `Opaque`.
        offset: Position of the first query, where the rule is known.
        notes: What was taken for granted, a sentence each.
    """

    name: str
    source: Written
    target: Written | None
    visible: BoolArray
    rule: Rule
    offset: int = 0
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "visible", sealed(self.visible, np.bool_))
