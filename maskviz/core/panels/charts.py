"""Charts renderers draw: bars of named numbers, and lines over a shared x."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import FloatArray, sealed


@dataclass(frozen=True, slots=True, eq=False)
class Bars:
    """A list of named numbers, drawn as horizontal bars in the order given.

    Attributes:
        title, caption: What is listed; which interval `low` and `high` are, and how many bars were left out.
        names: Names of the bars, such as "3.7".
        values: float32 [bar]; bars of negative values go left of zero. NaN is a name without a bar.
        unit: What the numbers measure.
        low, high: float32 [bar], ends of an interval around each value, NaN where there is none; None where no bar
            has one.
    """

    title: str
    caption: str
    names: tuple[str, ...]
    values: FloatArray
    unit: str
    low: FloatArray | None = None
    high: FloatArray | None = None

    def __post_init__(self) -> None:
        _seal_numbers(self, len(self.names))


@dataclass(frozen=True, slots=True, eq=False)
class CurveLine:
    """One line of a `Curve`.

    Attributes:
        name: Its name in the legend.
        values: float32 [point], NaN where there is no point; the line is broken there.
        low, high: float32 [point], ends of a band around the line, NaN where there is none; None where it has none.
    """

    name: str
    values: FloatArray
    low: FloatArray | None = None
    high: FloatArray | None = None

    def __post_init__(self) -> None:
        _seal_numbers(self, len(self.values))


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Lines over a shared x.

    Attributes:
        title, caption: What is shown; what the bands are.
        x: float32 [point], finite and ascending.
        x_name, y_name: What the axes measure.
        lines: The lines, the one that matters most first.
        level: Height of a horizontal line to compare with, or None.
        level_name: Its name in the legend.
    """

    title: str
    caption: str
    x: FloatArray
    x_name: str
    y_name: str
    lines: tuple[CurveLine, ...]
    level: float | None = None
    level_name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "x", sealed(self.x, np.float32))
        if not np.isfinite(self.x).all() or (np.diff(self.x) < 0).any():
            raise ValueError("x is not finite and ascending")
        for line in self.lines:
            if line.values.shape != self.x.shape:
                raise ValueError(f"line '{line.name}' has {line.values.shape} values for {self.x.shape} points")


def _seal_numbers(panel: Bars | CurveLine, count: int) -> None:
    """Seal the values and the interval around them, float32 [count] each; an interval has both ends or none."""
    if (panel.low is None) != (panel.high is None):
        raise ValueError("an interval has a low and a high end")
    for name in ("values", "low", "high"):
        array = getattr(panel, name)
        if array is None:
            continue
        object.__setattr__(panel, name, sealed(array, np.float32))
        if np.shape(array) != (count,):
            raise ValueError(f"{name} {np.shape(array)} do not fit {count} places")
