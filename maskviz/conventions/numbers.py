"""What the numbers of a mask say, by polarity; what they cannot say is an error that names the place."""

from __future__ import annotations

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, FloatArray
from maskviz.core.checks.dialects import BLOCKED, CONVENTIONS
from maskviz.core.errors import UsageError
from maskviz.core.words import Dialect
from maskviz.core.writing import parameter

# The type's least number, of a type that numpy has not.
_LEAST_BFLOAT16 = -3.3895313892515355e38
# Dialects whose floats are added to scores.
_ADDED = (Dialect.HF_4D, Dialect.TORCH_MHA_FLOAT, Dialect.TORCH_PADDING, Dialect.SDPA)


def cells_of_ones(values: AnyArray, dialect: Dialect) -> BoolArray:
    """bool of the same shape, True where the number is 1.

    Raises:
        UsageError: numbers other than 0 and 1.
    """
    if values.dtype.kind == "b":
        return np.asarray(values, np.bool_)
    wrong = (values != 0) & (values != 1)
    if wrong.any():
        hint = (
            f"it looks additive: {parameter('source', 'hf-4d', shell='--from')} or torch-mha-float"
            if values.dtype.kind == "f"
            else None
        )
        raise UsageError(f"{dialect} has 0 and 1, and this mask {_first(values, wrong)}", hint or _meaning(dialect))
    return np.asarray(values == 1)


def cells_of_booleans(values: AnyArray, dialect: Dialect) -> BoolArray:
    """The same booleans.

    Raises:
        UsageError: another type.
    """
    if values.dtype.kind != "b":
        hint = (
            f"numbers that are added are {parameter('source', str(Dialect.TORCH_MHA_FLOAT), shell='--from')}"
            if dialect is Dialect.TORCH_MHA
            else _meaning(dialect)
        )
        raise UsageError(f"{dialect} is bool, and this mask is {values.dtype}", hint)
    return np.asarray(values, np.bool_)


def cells_of_scores(values: AnyArray, dialect: Dialect) -> BoolArray:
    """bool of the same shape, True where what is added to a score does not block it.

    Raises:
        UsageError: another type than float, NaN, +inf, or ones, which would block nothing.
    """
    if values.dtype.kind != "f":
        raise UsageError(f"{dialect} adds its numbers to the scores, and this mask is {values.dtype}", _ones_hint())
    wrong = np.isnan(values) | np.isposinf(values)
    if wrong.any():
        raise UsageError(f"the mask {_first(values, wrong)}", _meaning(dialect))
    if (values == 1).any() and ((values == 0) | (values == 1)).all():
        raise UsageError(f"{dialect} adds its numbers, and these are 0 and 1: they would block nothing", _ones_hint())
    return np.asarray(values > BLOCKED)


def scores_of_cells(visible: BoolArray, blocked: float, dtype: str) -> FloatArray:
    """Float of the same shape: 0 where visible, `blocked` elsewhere; bfloat16 as the same numbers in float32."""
    kind = np.dtype(np.float32 if dtype == "bfloat16" else dtype)
    scores: FloatArray = np.where(visible, kind.type(0), kind.type(blocked))
    return scores


def least(dtype: str) -> float:
    """The most negative finite number of a float type."""
    return _LEAST_BFLOAT16 if dtype == "bfloat16" else float(np.finfo(dtype).min)


def bias_of(values: AnyArray, dialect: Dialect) -> tuple[float, float] | None:
    """Least and largest of the numbers that are added to the scores of visible cells; None where all are 0, or the
    dialect adds nothing."""
    if dialect not in _ADDED or values.dtype.kind != "f":
        return None
    added = values[values > BLOCKED]
    if not (added != 0).any():
        return None
    return float(added.min()), float(added.max())


def _first(values: AnyArray, wrong: BoolArray) -> str:
    place = np.argwhere(wrong)[0].tolist()
    return f"has {values[tuple(place)]:g} at {place}"


def _meaning(dialect: Dialect) -> str:
    return f"{dialect}: {CONVENTIONS[dialect].meaning}"


def _ones_hint() -> str:
    return "1 or True = attend is hf-2d [batch, key], keras [batch, query, key], sdpa or flax [batch, head, query, key]"
