"""Colours and characters as data, the same in every format.

Reasons use the colours of Okabe and Ito, which people with any common colour blindness tell apart; each has a
character of its own too. Attention uses viridis, whose lightness rises evenly, so that it survives grey printing.
Numbers around zero use coolwarm: blue and red are told apart with any common colour blindness, grey is zero.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from maskviz.core.arrays import BoolArray, ByteArray, FloatArray
from maskviz.core.rules.reasons import Reason
from maskviz.core.words import Scale

Levels = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stroke:
    """How one line of a plot looks.

    Attributes:
        ink: "#rrggbb", readable on black and on white.
        character: Marks a point on a terminal, one column wide, tells the line without colour.
        ascii_character: The same for terminals that know ASCII only.
        marker: Matplotlib's name of the marker in a figure.
        dashes: Points on and off in turn; empty for a solid line.
    """

    ink: str
    character: str
    ascii_character: str
    marker: str
    dashes: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Swatch:
    """How one kind of cell looks.

    Attributes:
        ink: "#rrggbb" of a character on a terminal, readable on black and on white.
        fill: "#rrggbb" of an area on white paper.
        character: One column wide, tells the kind without colour.
        ascii_character: The same for terminals that know ASCII only.
    """

    ink: str
    fill: str
    character: str
    ascii_character: str


VISIBLE = Swatch("#2a7fc9", "#0b4f8a", "█", "#")
SOME = Swatch("#2a7fc9", "#7fb0d8", "░", "+")  # a tile where some cells are visible and some are not
MEANINGLESS = Swatch("#808080", "#a6a6a6", "□", "o")  # visible, but in the row of a padding query
BLOCKED = Swatch("#808080", "#e6e6ea", "·", ".")  # blocked, where the picture does not tell why
NOT_A_NUMBER = Swatch("#cc79a7", "#cc79a7", "?", "?")

REASONS: dict[int, Swatch] = {
    Reason.PADDING: Swatch("#8a8a8a", "#c4c4c4", "×", "x"),
    Reason.FUTURE: Swatch("#e69f00", "#f7d48a", "·", "."),
    Reason.WINDOW: Swatch("#cc79a7", "#e9c3d8", "~", "~"),
    Reason.CHUNK: Swatch("#009e73", "#80ceb9", "=", "="),
    Reason.DOCUMENT: Swatch("#b8a800", "#f0e442", "/", "/"),
    Reason.SPARSE: Swatch("#56b4e9", "#bfe3f8", ":", ":"),
    Reason.USER: Swatch("#d55e00", "#d55e00", "!", "!"),
    Reason.OTHER: Swatch("#9c755f", "#9c755f", "?", "?"),
}

# Two masks beside each other, by which of them lets a query see a key: neither, only A, only B, both.
DIFFERENCES = (
    Swatch("#808080", "#f0f0f2", "·", "."),
    Swatch("#d55e00", "#d55e00", "A", "A"),
    Swatch("#2a7fc9", "#0072b2", "B", "B"),
    Swatch("#8a8a8a", "#c4c4c8", "░", "+"),
)

# Shades for terminals without colour, from zero to the top of the scale; blocked places are left blank there.
SHADES = "·:░▒▓█"
ASCII_SHADES = ".:=+*%@"

# Places above and below zero without colour: up to an eighth of the scale, up to a half, and more.
POSITIVE_SHADES = "'+#"
NEGATIVE_SHADES = ",-="

# Inks of numbers above and below zero, blue and red as in the scale around zero.
POSITIVE_INK = "#d55e00"
NEGATIVE_INK = "#2a7fc9"

# Lines of a plot in their order; a seventh looks like the first.
STROKES = (
    Stroke("#2a7fc9", "●", "o", "o"),
    Stroke("#d55e00", "▲", "x", "^", (4.0, 1.5)),
    Stroke("#009e73", "■", "*", "s", (1.5, 1.5)),
    Stroke("#cc79a7", "◆", "%", "D", (6.0, 1.5, 1.5, 1.5)),
    Stroke("#e69f00", "▼", "v", "v", (3.0, 3.0)),
    Stroke("#56b4e9", "○", "@", "X", (8.0, 2.0)),
)

GRID = "#e2e2e6"  # lines behind a plot
GATE_INK = "#d55e00"
WARNING_INK = "#d55e00"
IMAGE_INK = "#009e73"
LINE_INK = "#1f5fa8"
REPLACED_INK = "#cc79a7"

# Inks on terminals of sixteen colours, chosen to be readable on black and on white, which the nearest are not.
BASIC_COLOURS = {
    VISIBLE.ink: 4,
    MEANINGLESS.ink: 8,
    REASONS[Reason.PADDING].ink: 8,
    REASONS[Reason.FUTURE].ink: 3,
    REASONS[Reason.WINDOW].ink: 5,
    REASONS[Reason.CHUNK].ink: 2,
    REASONS[Reason.DOCUMENT].ink: 3,
    REASONS[Reason.SPARSE].ink: 6,
    REASONS[Reason.USER].ink: 1,
    REASONS[Reason.OTHER].ink: 9,
}

# viridis at equal steps; the darkest twentieth is left out so that zero is not taken for black.
_ANCHORS = (
    *("#471365", "#453581", "#3a548c", "#2d708e", "#23898e"),
    *("#1fa287", "#3bbb75", "#73d056", "#b8de29", "#fde725"),
)

# matplotlib's coolwarm at equal steps, the diverging map of Moreland, "Diverging Color Maps for Scientific
# Visualization" (2009), evenly light on both sides of a grey middle.
_DIVERGING_ANCHORS = (
    *("#3b4cc0", "#5470de", "#6f92f3", "#8db0fe", "#aac7fd", "#c5d6f2", "#dddcdc"),
    *("#efcebd", "#f7b89c", "#f4987a", "#e7745b", "#d1493f", "#b40426"),
)


def rgb(colour: str) -> tuple[int, int, int]:
    """Return red, green and blue in 0-255 of "#rrggbb"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def hexadecimal(colour: NDArray[np.uint8]) -> str:
    """Return "#rrggbb" of red, green and blue in 0-255."""
    return "#" + "".join(f"{int(part):02x}" for part in colour)


def level(values: FloatArray, scale: Scale, top: float, floor: float) -> Levels:
    """Return the place of each value on the scale in [0, 1]: 0 at the lower end, 1 at `top`. NaN stays NaN."""
    exact = values.astype(np.float64)
    if scale is Scale.LOG:
        low, high = np.log10(floor), np.log10(max(top, floor * 1.000001))
        exact = (np.log10(np.maximum(exact, floor)) - low) / (high - low)
    elif top > 0:
        exact = exact / top
    else:
        exact = np.where(np.isnan(exact), exact, 0.0)
    return np.clip(exact, 0.0, 1.0)


def signed_level(values: FloatArray, top: float) -> Levels:
    """Return the place of each value in [-1, 1]: -1 at `-top`, 0 at zero, 1 at `top`. NaN stays NaN."""
    exact = values.astype(np.float64)
    return np.clip(exact / top if top > 0 else np.sign(exact), -1.0, 1.0)


def sequential(levels: Levels) -> ByteArray:
    """Return uint8 [..., 3]: the colour of each level in [0, 1]; NaN gets the colour of `NOT_A_NUMBER`."""
    return _between(_ANCHORS, levels)


def diverging(levels: Levels) -> ByteArray:
    """Return uint8 [..., 3]: the colour of each level in [-1, 1], grey at 0; NaN that of `NOT_A_NUMBER`."""
    return _between(_DIVERGING_ANCHORS, (levels + 1.0) / 2.0)


def value_colours(values: FloatArray, top: float, centred: bool) -> ByteArray:
    """Return uint8 [..., 3]: the colours of values up to `top`, from 0 or, where centred, from `-top`."""
    if centred:
        return diverging(signed_level(values, top))
    return sequential(level(values, Scale.LINEAR, top, 1e-4))


def _between(colours: tuple[str, ...], levels: Levels) -> ByteArray:
    """Return uint8 [..., 3]: for each level in [0, 1] the mix of the two colours it lies between."""
    anchors = np.array([rgb(colour) for colour in colours], dtype=np.float64)
    places = np.linspace(0.0, 1.0, len(anchors))
    clean = np.nan_to_num(levels, nan=0.0)
    mixed = np.stack([np.interp(clean, places, anchors[:, part]) for part in range(3)], axis=-1)
    mixed[np.isnan(levels)] = rgb(NOT_A_NUMBER.fill)
    return np.rint(mixed).astype(np.uint8)


def lightness(colour: NDArray[np.uint8]) -> float:
    """Return how light red, green and blue look together, in 0-255: dark text is readable above 120."""
    return float(colour.astype(np.float64) @ np.array([0.30, 0.59, 0.11]))


def greyed(colours: ByteArray) -> ByteArray:
    """Return the colours of rows without meaning: grey and pale, lightness order kept. uint8 [..., 3] both."""
    lightness = colours.astype(np.float64) @ np.array([0.30, 0.59, 0.11])
    pale = 150.0 + lightness * (235.0 - 150.0) / 255.0
    return np.repeat(np.rint(pale)[..., None], 3, axis=-1).astype(np.uint8)


def heat_colours(levels: Levels, blocked: BoolArray, meaningless: BoolArray) -> ByteArray:
    """Return uint8 [query, key, 3] for paper.

    Args:
        levels: [query, key] in [0, 1].
        blocked: [query, key], True where the mask blocks.
        meaningless: [query], True for rows of padding queries.
    """
    colours = sequential(levels)
    colours[blocked] = rgb(BLOCKED.fill)
    colours[meaningless] = greyed(colours[meaningless])
    return colours


def swatch_of(code: int) -> Swatch:
    """Return the look of a cell by its code: 0 is visible, else one `Reason` bit; unknown bits look like OTHER."""
    return VISIBLE if code == 0 else REASONS.get(code, REASONS[Reason.OTHER])
