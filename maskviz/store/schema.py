"""A small language for what a file may hold: values that know what fits them, and say in words what does not."""

from __future__ import annotations

import base64
import binascii
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maskviz.core.arrays import AnyArray


class MisfitError(ValueError):
    """Something a file holds is not what the schema says."""

    def __init__(self, said: str, place: str = "") -> None:
        super().__init__(f"{place.removeprefix('.')}: {said}" if place else said)
        self.said, self.place = said, place

    def inside(self, step: str) -> MisfitError:
        """The same, as it is said one step further out."""
        return MisfitError(self.said, f"{step}{self.place}")


class Kind(ABC):
    """What a value of JSON may be."""

    @abstractmethod
    def check(self, value: Any) -> None:
        """Make sure that a value is of this kind.

        Raises:
            MisfitError: it is not; the error says where.
        """


@dataclass(frozen=True, slots=True)
class Anything(Kind):
    """Any value: it is asked later, when it is known what it has to fit."""

    def check(self, value: Any) -> None:
        del value


@dataclass(frozen=True, slots=True)
class String(Kind):
    """A string, of the form of a pattern where there is one."""

    pattern: str = ""

    def check(self, value: Any) -> None:
        if not isinstance(value, str):
            raise MisfitError(f"{shown(value)} is no text")
        if self.pattern and not re.fullmatch(self.pattern, value):
            raise MisfitError(f"{shown(value)} is not of the form {self.pattern}")


@dataclass(frozen=True, slots=True)
class Truth(Kind):
    """True or false."""

    def check(self, value: Any) -> None:
        if not isinstance(value, bool):
            raise MisfitError(f"{shown(value)} is neither true nor false")


@dataclass(frozen=True, slots=True)
class Integer(Kind):
    """A whole number from `least` to `most`, both included."""

    least: int
    most: int

    def check(self, value: Any) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or not self.least <= value <= self.most:
            raise MisfitError(f"{shown(value)} is no whole number from {self.least} to {self.most}")


@dataclass(frozen=True, slots=True)
class Number(Kind):
    """A finite number from `least` to `most`."""

    least: float = -math.inf
    most: float = math.inf

    def check(self, value: Any) -> None:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        # The largest number of 64 bits: a whole number of JSON may have any number of digits.
        if not number or not abs(value) < 1.8e308 or not self.least <= value <= self.most:
            raise MisfitError(f"{shown(value)} is no number from {self.least:g} to {self.most:g}")


@dataclass(frozen=True, slots=True)
class OneOf(Kind):
    """One of some values."""

    values: Iterable[Any]

    def check(self, value: Any) -> None:
        if not any(type(value) is type(plain) and value == plain for plain in map(_plain, self.values)):
            raise MisfitError(f"{shown(value)} is none of {', '.join(map(str, self.values))}")


@dataclass(frozen=True, slots=True)
class Nullable(Kind):
    """Null, or a value of a kind: null is what is not known, or no number."""

    kind: Kind

    def check(self, value: Any) -> None:
        if value is not None:
            self.kind.check(value)


@dataclass(frozen=True, slots=True)
class ListOf(Kind):
    """A list of values of one kind, `least` to `most` of them."""

    kind: Kind
    least: int = 0
    most: int | None = None

    def check(self, value: Any) -> None:
        if not isinstance(value, list) or len(value) < self.least:
            raise MisfitError(f"{shown(value)} is no list of at least {self.least}")
        if self.most is not None and len(value) > self.most:
            raise MisfitError(f"it has {len(value)} entries, {self.most} are the most")
        for place, one in enumerate(value):
            try:
                self.kind.check(one)
            except MisfitError as error:
                raise error.inside(f"[{place}]") from None


@dataclass(frozen=True, slots=True)
class TableOf(Kind):
    """A list of lists of one length, none of them empty; `rows` of them where the number is known."""

    kind: Kind
    rows: int | None = None

    def check(self, value: Any) -> None:
        known = self.rows or 0
        ListOf(ListOf(self.kind, 1), max(1, known), self.rows).check(value)
        if len({len(row) for row in value}) > 1:
            raise MisfitError("its rows are not of one length")


@dataclass(frozen=True, slots=True)
class MapOf(Kind):
    """An object whose names are of one kind and whose values of another."""

    names: Kind
    kind: Kind

    def check(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise MisfitError(f"{shown(value)} is no object")
        for name, one in value.items():
            self.names.check(name)
            _inside(f".{name}", self.kind, one)


class Record(Kind):
    """An object with these members and no others; those of `extra` may be missing."""

    def __init__(self, extra: Mapping[str, Kind] | None = None, /, **members: Kind) -> None:
        self.needed, self.extra = members, dict(extra or {})

    def check(self, value: Any) -> None:
        if not isinstance(value, dict):
            raise MisfitError(f"{shown(value)} is no object")
        for name in self.needed:
            if name not in value:
                raise MisfitError(f"it has no {name!r}")
        known = {**self.needed, **self.extra}
        for name, one in value.items():
            if name not in known:
                raise MisfitError(f"nothing is called {name[:60]!r} here")
            _inside(f".{name}", known[name], one)


@dataclass(frozen=True, slots=True)
class Bits(Kind):
    """Cells as base64 of their bits, as many as the object's own "shape" says: an object of `name` and "shape"."""

    name: str
    shape: tuple[Kind, ...]

    def check(self, value: Any) -> None:
        Record(**{self.name: String(), "shape": ListOf(Integer(1, 2**31), len(self.shape), len(self.shape))}).check(
            value
        )
        for place, (kind, length) in enumerate(zip(self.shape, value["shape"], strict=True)):
            _inside(f".shape[{place}]", kind, length)
        try:
            held = len(base64.b64decode(value[self.name], validate=True))
        except (binascii.Error, ValueError) as error:
            raise MisfitError("it is no base64", f".{self.name}") from error
        if held != -(-math.prod(value["shape"]) // 8):
            raise MisfitError(f"{held} bytes are not the bits of {value['shape']}", f".{self.name}")


# The length of an axis: a number, one of several, or a name that stands for one number wherever it is met.
Axis = int | frozenset[int] | str


@dataclass(frozen=True, slots=True)
class Array:
    """What an array of a file may be.

    Attributes:
        dtype: Name of its type.
        shape: Its axes; "..." in front stands for any number of axes of any length.
        least, most: Ends of its values, both included.
        gaps: Whether some of its numbers may be none (NaN).
        needed: Whether it may not be missing.
    """

    dtype: str
    shape: tuple[Axis, ...]
    least: float = -math.inf
    most: float = math.inf
    gaps: bool = False
    needed: bool = field(default=True, kw_only=True)

    def check_form(self, dtype: np.dtype[Any], shape: tuple[int, ...], lengths: dict[str, int]) -> None:
        """Make sure of the type and the shape of an array that is still packed.

        Args:
            dtype, shape: As its header has them.
            lengths: What the names of axes stand for as far as they were met; those met here are put in.

        Raises:
            MisfitError: they are others.
        """
        if dtype != np.dtype(self.dtype):
            raise MisfitError(f"it is {dtype}, not {self.dtype}")
        axes = self.shape
        if axes[0] == "...":
            axes = (*(f"axis {place}" for place in range(len(shape) - len(axes) + 1)), *axes[1:])
        expected = tuple(lengths.get(axis, axis) if isinstance(axis, str) else axis for axis in axes)
        if len(shape) != len(expected) or not all(map(_fits, shape, expected)):
            raise MisfitError(f"its shape is {_words(shape)}, not {_words(expected)}")
        names = {axis for axis in self.shape if isinstance(axis, str)}
        lengths.update({axis: found for axis, found in zip(axes, shape, strict=True) if axis in names})

    def check_values(self, array: AnyArray) -> None:
        """Make sure of every value of an array.

        Raises:
            MisfitError: one is outside its ends, or none at all.
        """
        if array.dtype.kind == "b":
            array = array.view(np.uint8)  # a byte of a file may be neither 0 nor 1
        numbers = array[~np.isnan(array)] if array.dtype.kind == "f" else array
        if numbers.size < array.size and not self.gaps:
            raise MisfitError("some of its numbers are none")
        least, most = (0, 1) if self.dtype == "bool" else (self.least, self.most)
        if numbers.size and not (least <= numbers.min() and numbers.max() <= most):
            raise MisfitError(f"its values are not between {least:g} and {most:g}")


def _fits(length: int, axis: Axis) -> bool:
    match axis:
        case int():
            return length == axis
        case frozenset():
            return length in axis
    return length > 0


def _words(shape: Iterable[Axis]) -> str:
    parts = (" or ".join(map(str, sorted(axis))) if isinstance(axis, frozenset) else str(axis) for axis in shape)
    return f"[{', '.join(parts)}]"


def _inside(step: str, kind: Kind, value: Any) -> None:
    try:
        kind.check(value)
    except MisfitError as error:
        raise error.inside(step) from None


def _plain(value: Any) -> Any:
    """A word of an enumeration as JSON has it."""
    return str(value) if isinstance(value, str) else value


def shown(value: Any) -> str:
    """A value as a message says it, cut short."""
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value}" if abs(value) < 10**20 else "a number of many digits"
    if isinstance(value, dict | list):
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    return f"{'null' if value is None else repr(value)[:60]}"
