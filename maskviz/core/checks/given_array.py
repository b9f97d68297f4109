"""A mask file as it was given: its numbers, and how it is to be read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, sealed
from maskviz.core.words import Dialect


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a mask is to fit; None where it is not known.

    Attributes:
        batch: Rows of the batch.
        heads: Query heads.
        queries, keys: Tokens that ask, and tokens that may be looked at.
        window: Keys a query is meant to see at most, its own included.
    """

    batch: int | None = None
    heads: int | None = None
    queries: int | None = None
    keys: int | None = None
    window: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What a framework's own attention made of a mask, on random queries, keys and values.

    Attributes:
        leaked: Largest share in [0, 1] of a query's attention, over all rows and heads, on cells the mask means to
            block; None where the weights could not be seen or nothing is known of what is meant.
        not_numbers: Queries whose output is not a number.
        differs: Largest difference between the output with weights asked for and without, NaN where one alone is not a
            number; None where the framework has no such choice.
        refused: What the framework said where it raised; "" where it did not.
    """

    leaked: float | None = None
    not_numbers: int = 0
    differs: float | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class GivenArray:
    """A mask file as it was given.

    Attributes:
        name: The file.
        values: The array, any shape; 16-bit floats of torch widened to float32.
        dtype: Its type as stored, such as "bool", "float32", "bfloat16".
        dialect: How it is to be read.
        sizes: What it is to fit.
        run_dtype: The type the model computes in, where it is known, such as "float16"; else "".
        visible: bool [batch or 1, head or 1, query or 1, key], True = may attend, as its dialect reads it; None
            where it cannot be read so.
        unreadable: Why it cannot; "" where it can.
        trial: What the dialect's framework makes of it; None where it was not tried.
    """

    name: str
    values: AnyArray
    dtype: str
    dialect: Dialect
    sizes: Sizes = Sizes()
    run_dtype: str = ""
    visible: BoolArray | None = None
    unreadable: str = ""
    trial: Trial | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        object.__setattr__(self, "values", sealed(values, values.dtype))
        if self.visible is not None:
            object.__setattr__(self, "visible", sealed(self.visible, np.bool_))
