"""A mask brought to the sizes asked for, or refused with the places where it says more than a dialect can."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from maskviz.core.arrays import BoolArray
from maskviz.core.checks.case import Sizes
from maskviz.core.errors import UsageError
from maskviz.core.words import Dialect
from maskviz.core.writing import either, parameter

# As many as a batch of 16 with 4096 tokens.
_MOST_CELLS = 2**28

Axis = Literal["row", "head", "query"]
_AXES: tuple[Axis, ...] = ("row", "head", "query")
_MANY = {"row": "rows", "head": "heads", "query": "queries"}


def fitted(visible: BoolArray, sizes: Sizes) -> BoolArray:
    """The mask with the rows and queries asked for; an axis of 1 is repeated, heads that all see the same become one.

    Args:
        visible: bool [batch or 1, head or 1, query or 1, key], True = may attend.
        sizes: What it is to fit; what is None there stays as it is.

    Raises:
        UsageError: it has another size.
    """
    wanted = (sizes.batch, sizes.heads, sizes.queries, sizes.keys)
    names = ("rows", "heads", "queries", "keys")
    shape = list(visible.shape)
    for axis, (size, name) in enumerate(zip(wanted, names, strict=True)):
        if size is None or shape[axis] == size:
            continue
        if shape[axis] != 1 or name == "keys":
            option = parameter("batch" if name == "rows" else name)
            raise UsageError(f"the mask has {shape[axis]} {name}, and {option} says {size}", f"leave out {option}")
        shape[axis] = size
    if differing(visible, "head") is None:
        visible, shape[1] = visible[:, :1], 1
    check_room(tuple(shape))
    return np.asarray(np.broadcast_to(visible, shape), np.bool_)


class RoomError(UsageError):
    """A mask has more cells than are made here."""


def check_room(shape: tuple[int, ...]) -> None:
    """Make sure a mask of this shape can be made here.

    Raises:
        RoomError: it has too many cells.
    """
    if math.prod(shape) > _MOST_CELLS:
        raise RoomError(
            f"a mask of {list(shape)} has {math.prod(shape):,} cells, more than the {_MOST_CELLS:,} that are made here",
            f"a rule needs no cells: {either('maskviz.mask(...)', '--to python, or maskviz mask')}",
        )


def one_for_all(visible: BoolArray, dialect: Dialect, *axes: Axis) -> None:
    """Make sure a mask says the same along axes that a dialect has not.

    Raises:
        UsageError: it does not; names the first two places that differ.
    """
    for axis in axes:
        if (pair := differing(visible, axis)) is not None:
            raise UsageError(
                f"{dialect} says one thing for every {axis}, and this mask differs between "
                f"{_MANY[axis]} {pair[0]} and {pair[1]}",
                "sdpa, hf-4d, flax and flex can say it",
            )


def differing(visible: BoolArray, axis: Axis) -> tuple[int, int] | None:
    """The first place along an axis that is not as place 0, beside it; None where all are the same."""
    along = np.moveaxis(visible, _AXES.index(axis), 0)
    if not along.shape[0]:
        return None
    other = (along != along[:1]).any(axis=(1, 2, 3))
    return (0, int(other.argmax())) if other.any() else None
