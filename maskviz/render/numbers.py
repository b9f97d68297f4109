"""Numbers as people read them: two significant digits, round ticks, the stretch an axis covers."""

from __future__ import annotations

import math
import re

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray


def number_text(value: float, *, signed: bool = False) -> str:
    """Return a number in two significant digits, nothing for NaN; only zero itself is "0".

    Args:
        value: Any float.
        signed: Whether a positive number gets its "+".
    """
    if math.isnan(value):
        return ""
    if value == 0:
        return "0"
    size = abs(value)
    if math.isinf(size):
        text = "inf"
    elif 0.001 <= size < 10_000:
        # "#" keeps the second digit of 0.30 and 1.0.
        text = f"{size:#.2g}".rstrip(".") if size < 10 else f"{size:.0f}"
    else:
        text = _short_exponent(f"{size:.1e}".replace(".0e", "e"))
    return ("-" if value < 0 else "+" if signed else "") + text


def cell_text(value: float, *, signed: bool, most: int) -> str:
    """Return a number as short as a cell needs it: ".03" for "0.03", and "8e-3" where ".0083" is over `most` long.

    One digit and its exponent are written even where they are longer than `most`.
    """
    text = re.sub(r"^([+-]?)0\.", r"\1.", number_text(value, signed=signed))
    if len(text) <= most or math.isinf(value):
        return text
    return ("+" if signed and value > 0 else "") + _short_exponent(f"{value:.0e}")


def stretch_words(values: AnyArray, *, signed: bool) -> str:
    """Return ", from 0.01 to 0.3": the smallest and the largest of the values; nothing where all are NaN."""
    known = values[~np.isnan(values)]
    if not known.size:
        return ""
    low, high = (number_text(float(end), signed=signed) for end in (known.min(), known.max()))
    return f", from {low} to {high}"


def stretch(*values: AnyArray | float | None) -> tuple[float, float]:
    """Return the smallest and the largest finite number, always apart: a single one gets room on both sides."""
    parts = [np.asarray(part, dtype=np.float64).ravel() for part in values if part is not None]
    numbers = np.concatenate([*parts, np.empty(0)])
    numbers = numbers[np.isfinite(numbers)]
    if not numbers.size:
        return 0.0, 1.0
    low, high = float(numbers.min()), float(numbers.max())
    room = (abs(low) * 0.1 or 1.0) if low == high else 0.0
    return low - room, high + room


def ticks(low: float, high: float, most: int) -> list[float]:
    """Return at most `most` + 1 multiples of 1, 2 or 5 times a power of ten within [low, high], where low < high."""
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_text(value: float) -> str:
    """Return a tick in as many digits as it has: "0.25", "1e-5"."""
    return _short_exponent(f"{value:.10g}")


def runs(known: BoolArray) -> list[slice]:
    """Return where bool [point] is True without a gap, one slice for each stretch."""
    padded = np.concatenate([[False], known, [False]]).astype(np.int8)
    steps = np.diff(padded)
    return [slice(int(a), int(b)) for a, b in zip(np.flatnonzero(steps == 1), np.flatnonzero(steps == -1), strict=True)]


def _short_exponent(text: str) -> str:
    return re.sub(r"e([+-])0*", lambda found: "e-" if found[1] == "-" else "e", text)


def share_text(share: float) -> str:
    """A share in [0, 1] as percent with one decimal; one that is not zero never looks like it."""
    return "under 0.1%" if 0 < share < 0.0005 else f"{share:.1%}"
