"""A plain map of numbers, such as one number per head, in the terminal."""

from __future__ import annotations

import math

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from maskviz.core.panels import Matrix
from maskviz.core.words import Scale
from maskviz.render.palette import hexadecimal, level, sequential
from maskviz.render.screen import Screen, heading, left

_CELL = 4  # columns: a number of up to three digits and a space


def matrix_lines(panel: Matrix, screen: Screen) -> list[Text]:
    """Return the numbers as shaded cells of two digits; columns that do not fit go into further blocks below."""
    power = digits_power(panel.top)
    margin = min(screen.width // 2, max((cell_len(screen.words(name)) for name in panel.row_names), default=0)) + 1
    per_block = max(1, (screen.width - margin) // _CELL)
    lines = heading(screen, panel.title, panel.caption)
    for first in range(0, len(panel.column_names), per_block):
        lines.extend(_block(panel, slice(first, first + per_block), margin, power, screen))
    unit = screen.words(panel.unit)
    lines.append(Text(f"each number is {unit}{_factor_words(power, screen)}", style="dim"))
    return lines


def digits_power(top: float) -> int:
    """Return the power of ten that brings `top` into (10, 100], so that two digits say it; 0 where top is not > 0."""
    return math.floor(2 - math.log10(top)) if top > 0 and math.isfinite(top) else 0


def short_name(name: str) -> str:
    """Return "h3" for "head 3", a name without a number at its end as it is."""
    words = name.split()
    return words[0][0] + words[-1] if len(words) > 1 and words[-1].isdigit() else name


def _factor_words(power: int, screen: Screen) -> str:
    if power == 0:
        return ""
    times = "x" if screen.ascii_only else "×"
    return f" {times} {10**power}" if power > 0 else f" / {10**-power}"


def _block(panel: Matrix, columns: slice, margin: int, power: int, screen: Screen) -> list[Text]:
    names = [screen.fit(short_name(screen.words(name)), _CELL - 1) for name in panel.column_names[columns]]
    lines = [Text(" " * margin + "".join(name.rjust(_CELL - 1) + " " for name in names), style="dim")]
    levels = level(panel.values[:, columns], Scale.LINEAR, panel.top, 1e-4)
    colours = sequential(levels)
    for row, name in enumerate(panel.row_names):
        line = Text(left(screen.fit(screen.words(name), margin - 1), margin))
        for value, colour in zip(panel.values[row, columns].tolist(), colours[row], strict=True):
            if math.isnan(value):
                line.append(" " * _CELL)
                continue
            line.append(f"{_digits(value, power)} ", style="" if screen.shaded else _readable_on(colour))
        lines.append(line)
    return lines


def _digits(value: float, power: int) -> str:
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"[: _CELL - 1]
    text = f"{value * 10.0**power:.0f}"
    return ("0" if text == "-0" else text if len(text) < _CELL else ">>>").rjust(_CELL - 1)


def _readable_on(colour: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    """Return the style of dark text on a light colour, of light text on a dark one."""
    lightness = float(colour.astype(np.float64) @ np.array([0.30, 0.59, 0.11]))
    return f"{'#000000' if lightness > 120 else '#ffffff'} on {hexadecimal(colour)}"
