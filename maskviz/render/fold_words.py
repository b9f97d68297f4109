"""What a folded or pooled place stands for, in words: its size in cells, what it shows, and the true extremes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.panels.page import Pooled
from maskviz.render.fold import Tile
from maskviz.render.numbers import number_text


def place_words(fold: Tile, pooled: Pooled | None, extremes: tuple[float, float] | None) -> str:
    """Return what a place stands for; empty where it is one cell.

    Args:
        fold: What was folded into a place when it was drawn.
        pooled: What a place stood for before that.
        extremes: The smallest and the largest single value that was folded; not asked where it was pooled before.
    """
    if pooled is not None:
        size = Tile(fold.rows * pooled.tile, fold.columns * pooled.tile)
        shown = f"the largest of {fold} tiles, each {pooled.shows}" if fold.folds else pooled.shows
        return f"each place is {size} cells: {shown}; the largest single value is {number_text(pooled.largest)}"
    if not fold.folds:
        return ""
    words = f"each place is the largest of {fold} cells"
    if extremes is None:
        return words
    low, high = map(number_text, extremes)
    return f"{words}; single values run from {low} to {high}"


def extremes_of(maps: Iterable[tuple[FloatArray, BoolArray, BoolArray]]) -> tuple[float, float] | None:
    """Return the smallest and the largest value of some maps, None where there is nothing to see.

    Args:
        maps: Of each map float32 [query, key], bool [query, key], True where the mask blocks, and bool [query], True
            where the query is padding. What is blocked, padding or no number is left out.
    """
    ends = []
    for values, blocked, meaningless in maps:
        seen = values[~meaningless][~blocked[~meaningless]]
        seen = seen[~np.isnan(seen)]
        if seen.size:
            ends.append((float(seen.min()), float(seen.max())))
    return (min(low for low, _ in ends), max(high for _, high in ends)) if ends else None
