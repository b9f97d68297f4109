"""Folding, against loops a novice would write."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from maskviz.core.arrays import BoolArray, ByteArray, FloatArray
from maskviz.render.fold import Fill, FoldedMap, FoldedMask, Tile, fold_farthest, fold_mask, fold_values, tile_to_fit

shapes = arrays.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=13)
tiles = st.builds(Tile, st.integers(1, 6), st.integers(1, 6))


def rows_that_count(rows: list[int], meaningless: BoolArray) -> list[int]:
    real = [row for row in rows if not meaningless[row]]
    return real or rows


def spans(length: int, size: int) -> list[list[int]]:
    return [list(range(length))[start : start + size] for start in range(0, length, size)]


def naive_mask(codes: ByteArray, meaningless: BoolArray, tile: Tile) -> FoldedMask:
    high, wide = spans(codes.shape[0], tile.rows), spans(codes.shape[1], tile.columns)
    fill = np.zeros((len(high), len(wide)), dtype=np.uint8)
    lowest = np.zeros_like(fill)
    for r, rows in enumerate(high):
        for c, columns in enumerate(wide):
            cells = [codes[row, column] for row in rows_that_count(rows, meaningless) for column in columns]
            visible = sum(cell == 0 for cell in cells)
            fill[r, c] = Fill.ALL if visible == len(cells) else Fill.SOME if visible else Fill.NONE
            lowest[r, c] = 0 if visible else min(cells)
    return FoldedMask(fill, lowest, np.array([all(meaningless[row] for row in rows) for rows in high]))


def naive_values(values: FloatArray, blocked: BoolArray, meaningless: BoolArray, tile: Tile) -> FoldedMap:
    high, wide = spans(values.shape[0], tile.rows), spans(values.shape[1], tile.columns)
    largest = np.zeros((len(high), len(wide)), dtype=np.float32)
    stopped = np.zeros(largest.shape, dtype=np.bool_)
    for r, rows in enumerate(high):
        for c, columns in enumerate(wide):
            places = [(row, column) for row in rows_that_count(rows, meaningless) for column in columns]
            heard = [float(values[place]) for place in places if not blocked[place]]
            numbers = [value for value in heard if value == value]
            stopped[r, c] = not heard
            largest[r, c] = max(numbers) if numbers else (np.nan if heard else 0)
    return FoldedMap(largest, stopped, np.array([all(meaningless[row] for row in rows) for rows in high]))


@given(st.data(), shapes, tiles)
def test_a_folded_mask_matches_naive(data: st.DataObject, shape: tuple[int, int], tile: Tile) -> None:
    codes = data.draw(arrays.arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1, 2, 4, 128])))
    meaningless = data.draw(arrays.arrays(np.bool_, shape[0]))
    folded, expected = fold_mask(codes, meaningless, tile), naive_mask(codes, meaningless, tile)
    np.testing.assert_array_equal(folded.fill, expected.fill)
    np.testing.assert_array_equal(folded.codes, expected.codes)
    np.testing.assert_array_equal(folded.meaningless, expected.meaningless)


@given(st.data(), shapes, tiles)
def test_a_folded_map_matches_naive(data: st.DataObject, shape: tuple[int, int], tile: Tile) -> None:
    numbers = st.floats(-2, 2, width=32) | st.just(float("nan"))
    values = data.draw(arrays.arrays(np.float32, shape, elements=numbers))
    blocked = data.draw(arrays.arrays(np.bool_, shape))
    meaningless = data.draw(arrays.arrays(np.bool_, shape[0]))
    folded, expected = (
        fold_values(values, blocked, meaningless, tile),
        naive_values(values, blocked, meaningless, tile),
    )
    np.testing.assert_array_equal(folded.values, expected.values)
    np.testing.assert_array_equal(folded.blocked, expected.blocked)
    np.testing.assert_array_equal(folded.meaningless, expected.meaningless)


@given(st.data(), shapes, tiles)
def test_the_value_farthest_from_zero_matches_naive(data: st.DataObject, shape: tuple[int, int], tile: Tile) -> None:
    values = data.draw(arrays.arrays(np.float32, shape, elements=st.integers(-3, 3) | st.just(float("nan"))))
    folded = fold_farthest(values, tile)
    for r, rows in enumerate(spans(shape[0], tile.rows)):
        for c, columns in enumerate(spans(shape[1], tile.columns)):
            numbers = [float(values[row, column]) for row in rows for column in columns]
            known = [number for number in numbers if number == number]
            expected = max(known, key=lambda number: (abs(number), number)) if known else np.nan
            np.testing.assert_array_equal(folded[r, c], expected)


def test_one_visible_cell_in_a_tile_is_some_and_never_none() -> None:
    codes = np.full((8, 8), 2, dtype=np.uint8)
    codes[5, 1] = 0
    fill = fold_mask(codes, np.zeros(8, dtype=np.bool_), Tile(4, 4)).fill
    assert fill.tolist() == [[Fill.NONE, Fill.NONE], [Fill.SOME, Fill.NONE]]


@given(st.integers(0, 5000), st.integers(1, 200))
def test_the_tile_that_fits_is_the_smallest_that_does(cells: int, places: int) -> None:
    size = tile_to_fit(cells, places)
    assert -(-cells // size) <= places
    assert size == 1 or -(-cells // (size - 1)) > places


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nothing_folds_to_nothing(shape: tuple[int, int]) -> None:
    nobody = np.zeros(shape[0], dtype=np.bool_)
    blocked = np.zeros(shape, dtype=np.bool_)
    expected = tuple(-(-side // 2) for side in shape)
    assert fold_mask(np.zeros(shape, dtype=np.uint8), nobody, Tile(2, 2)).fill.shape == expected
    assert fold_values(np.zeros(shape, dtype=np.float32), blocked, nobody, Tile(2, 2)).values.shape == expected
