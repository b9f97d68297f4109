"""Cells folded into as many places as a picture has room for, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, ByteArray, FloatArray
from maskviz.core.panels.page import Pooled, Token
from maskviz.core.rules.reasons import PARTLY
from maskviz.render.numbers import number_text


def strides() -> tuple[int, ...]:
    """Return 1, 2, 5, 10, 20 ...: every how many places an axis may be labelled."""
    return tuple(digit * 10**power for power in range(9) for digit in (1, 2, 5))


def are_numbers(tokens: tuple[Token, ...]) -> bool:
    """Whether tokens are named by their numbers, so that these need not be said twice."""
    return all(token.text == str(token.place) for token in tokens)


def tokens_each(tokens: tuple[Token, ...]) -> int:
    """Tokens of the text that each place of an axis stands for before it is folded here."""
    return tokens[0].count if tokens else 1


class Fill(IntEnum):
    """How many cells of a tile are visible."""

    NONE = 0
    SOME = 1
    ALL = 2


@dataclass(frozen=True, slots=True)
class Tile:
    """Size of a tile in cells; the last tile of an axis may be shorter."""

    rows: int
    columns: int

    @property
    def folds(self) -> bool:
        """Whether a tile is more than one cell."""
        return self.rows > 1 or self.columns > 1

    def __str__(self) -> str:
        return f"{self.rows} × {self.columns}"

    def times(self, tokens: int) -> Tile:
        """The tile in tokens, where a cell stands for `tokens` along each axis."""
        return Tile(self.rows * tokens, self.columns * tokens)


def tile_to_fit(cells: int, places: int, tokens: int = 1) -> int:
    """Return the smallest tile length that folds `cells` into at most `places` tiles; 1 where nothing is folded.

    Where a cell stands for several tokens the tile is made up to 2.5 times as long, to span a round number of them, if
    one can.
    """
    least = max(1, -(-cells // max(1, places)))
    if tokens == 1:
        return least
    spans = (step for step in strides() if step % tokens == 0 and least * tokens <= step <= 2.5 * least * tokens)
    return next((span // tokens for span in spans), least)


@dataclass(frozen=True, slots=True, eq=False)
class FoldedMask:
    """A mask in tiles.

    Attributes:
        fill: uint8 [tile row, tile column], a `Fill` each.
        codes: uint8, same shape: where nothing of a tile is visible, the lowest code in it; else 0.
        meaningless: bool [tile row], True where every query of the tile is padding.
    """

    fill: ByteArray
    codes: ByteArray
    meaningless: BoolArray


@dataclass(frozen=True, slots=True, eq=False)
class FoldedMap:
    """A map of numbers in tiles.

    Attributes:
        values: float32 [tile row, tile column]: the largest unblocked value of each tile, 0 where there is none.
            NaN only where every unblocked value is NaN.
        blocked: bool, same shape, True where every cell of the tile is blocked.
        meaningless: bool [tile row], True where every query of the tile is padding.
    """

    values: FloatArray
    blocked: BoolArray
    meaningless: BoolArray


def fold_mask(codes: ByteArray, meaningless: BoolArray, tile: Tile) -> FoldedMask:
    """Fold a mask into tiles of none, some or all visible.

    Rows of padding queries count only in tiles that hold no other row.

    Args:
        codes: uint8 [query, key], 0 = visible, `PARTLY` = folded before and some of it visible, else a reason.
        meaningless: bool [query], True where the query is padding.
        tile: Size of a tile.
    """
    counted, tile_meaningless = _counted(meaningless, tile.rows)
    visible = codes == 0
    some = _reduce(np.logical_or, (visible | (codes == PARTLY)) & counted, tile)
    every = _reduce(np.logical_and, visible | ~counted, tile)
    fill = np.where(every, Fill.ALL, np.where(some, Fill.SOME, Fill.NONE)).astype(np.uint8)
    lowest = _reduce(np.minimum, np.where(counted, codes, np.uint8(255)), tile)
    return FoldedMask(fill, np.where(fill == Fill.NONE, lowest, 0).astype(np.uint8), tile_meaningless)


def fold_differences(codes: ByteArray, meaningless: BoolArray, tile: Tile) -> tuple[ByteArray, BoolArray]:
    """Fold which of two masks lets through what: a tile shows one kind of its cells and no mixture.

    That is one that differs, if there is one, and of several the kind that is rarer in the whole picture.

    Args:
        codes: uint8 [query, key], 0 = neither, 1 = only A, 2 = only B, 3 = both.
        meaningless: bool [query], True where the query is padding; such rows count only in tiles that hold no other.
        tile: Size of a tile.

    Returns:
        uint8 [tile row, tile column] of the same codes, and bool [tile row], True where every query is padding.
    """
    counted, tile_meaningless = _counted(meaningless, tile.rows)
    number = np.bincount(codes[~meaningless].ravel(), minlength=4)
    shown: AnyArray = np.zeros_like(_reduce(np.maximum, codes, tile))
    for kind in sorted(range(4), key=lambda kind: (kind in (1, 2), -number[kind])):  # what matters most is written last
        shown[_reduce(np.logical_or, (codes == kind) & counted, tile)] = kind
    return shown, tile_meaningless


def fold_values(values: FloatArray, blocked: BoolArray, meaningless: BoolArray, tile: Tile) -> FoldedMap:
    """Fold a map of numbers into the largest unblocked value of each tile.

    Rows of padding queries count only in tiles that hold no other row.

    Args:
        values: float32 [query, key].
        blocked: bool [query, key], True where the mask blocks.
        meaningless: bool [query], True where the query is padding.
        tile: Size of a tile.
    """
    if not tile.folds:
        return FoldedMap(np.where(blocked, np.float32(0.0), values), blocked, meaningless)
    counted, tile_meaningless = _counted(meaningless, tile.rows)
    heard = counted & ~blocked
    largest = _reduce(np.fmax, np.where(heard, values, np.float32(-np.inf)), tile)
    all_blocked = ~_reduce(np.logical_or, heard, tile)
    # Beside a NaN, fmax keeps the -inf of unheard cells; a tile whose heard cells are all NaN says so.
    sound = _reduce(np.logical_or, heard & ~np.isnan(values), tile)
    shown = np.where(sound, largest, np.where(all_blocked, np.float32(0.0), np.float32(np.nan)))
    return FoldedMap(shown.astype(np.float32), all_blocked, tile_meaningless)


def fold_farthest(values: FloatArray, tile: Tile) -> FloatArray:
    """Return float32 [tile row, tile column]: of each tile of [row, column] the value farthest from zero.

    NaN only where every value of the tile is NaN.
    """
    largest, smallest = _reduce(np.fmax, values, tile), _reduce(np.fmin, values, tile)
    farthest: FloatArray = np.where(largest >= -smallest, largest, smallest)
    return farthest


def _counted(meaningless: BoolArray, rows: int) -> tuple[BoolArray, BoolArray]:
    """Return which rows count, bool [query, 1], and which tile rows are all padding, bool [tile row]."""
    if meaningless.size == 0:
        return ~meaningless[:, None], meaningless
    tiles = np.logical_and.reduceat(meaningless, np.arange(0, len(meaningless), rows))
    return (~meaningless | np.repeat(tiles, rows)[: len(meaningless)])[:, None], tiles


def _reduce(function: np.ufunc, cells: AnyArray, tile: Tile) -> AnyArray:
    """Reduce [row, column] tile by tile; reduceat takes the shorter last tile as it is."""
    if cells.size == 0:
        shape = (-(-cells.shape[0] // tile.rows), -(-cells.shape[1] // tile.columns))
        return np.zeros(shape, dtype=cells.dtype)
    columns = np.arange(0, cells.shape[1], tile.columns)
    rows = np.arange(0, cells.shape[0], tile.rows)
    narrow: AnyArray = function.reduceat(cells, columns, axis=1)
    folded: AnyArray = function.reduceat(narrow, rows, axis=0)
    return folded


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
