"""Array types of the house, and the seal put on every array a value holds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

BoolArray = NDArray[np.bool_]
ByteArray = NDArray[np.uint8]
IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]
AnyArray = NDArray[Any]


def sealed(array: Any, dtype: DTypeLike) -> AnyArray:
    """Return `array` as a read-only view of the given type; the caller's own array stays writable."""
    if np.asarray(array).dtype.kind == "c":
        raise TypeError("complex numbers are no values of a mask or a map")
    view = np.asarray(array, dtype=dtype).view()
    view.flags.writeable = False
    return view


class Content:
    """A sealed array that compares and hashes by its content, so that a rule holding one is a value."""

    __slots__ = ("array",)

    def __init__(self, array: Any, dtype: DTypeLike) -> None:
        self.array = sealed(np.ascontiguousarray(np.asarray(array, dtype=dtype)), dtype)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Content) and np.array_equal(self.array, other.array)

    def __hash__(self) -> int:
        return hash((self.array.shape, self.array.tobytes()))

    def __repr__(self) -> str:
        return f"Content(shape={self.array.shape}, dtype={self.array.dtype})"


def top_value(maps: Iterable[FloatArray]) -> float:
    """The largest value of some maps, the upper end of their common scale; 1 where there is nothing to see."""
    top = max((float(values.max()) for values in maps if values.size), default=0.0)
    return top if top > 0 else 1.0
