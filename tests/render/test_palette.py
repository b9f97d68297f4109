"""Colours and characters: distinct, monotone, and there for every reason."""

from __future__ import annotations

import subprocess
import sys
from itertools import combinations

import matplotlib
import numpy as np
import pytest

from maskviz.core.rules.reasons import Reason
from maskviz.core.words import Scale
from maskviz.render.palette import (
    ASCII_SHADES,
    BLOCKED,
    MEANINGLESS,
    REASONS,
    SHADES,
    SOME,
    STROKES,
    VISIBLE,
    diverging,
    level,
    rgb,
    sequential,
    signed_level,
)


def lightness(colour: str) -> float:
    return float(np.array(rgb(colour)) @ np.array([0.30, 0.59, 0.11]))


def test_each_reason_has_a_character_and_a_fill_of_its_own() -> None:
    assert set(REASONS) == set(Reason)
    looks = [VISIBLE, SOME, MEANINGLESS, *REASONS.values()]
    for one, other in combinations(looks, 2):
        assert one.character != other.character
        assert one.ascii_character != other.ascii_character
        assert one.fill != other.fill
    assert all(look.ascii_character.isascii() for look in looks)


def test_every_blocked_cell_is_much_lighter_than_a_visible_one() -> None:
    assert all(lightness(swatch.fill) - lightness(VISIBLE.fill) > 35 for swatch in REASONS.values())


@pytest.mark.parametrize("swatch", [VISIBLE, *REASONS.values()])
def test_ink_is_readable_on_black_and_on_white(swatch: object) -> None:
    assert 60 < lightness(swatch.ink) < 205  # type: ignore[attr-defined]


def test_the_scale_gets_lighter_step_by_step() -> None:
    steps = sequential(np.linspace(0, 1, 50)).astype(float) @ np.array([0.30, 0.59, 0.11])
    assert (np.diff(steps) > 0).all()


def test_blocked_is_far_from_every_colour_of_the_scale() -> None:
    distance = np.abs(sequential(np.linspace(0, 1, 256)).astype(int) - np.array(rgb(BLOCKED.fill))).sum(axis=1)
    assert distance.min() > 150


def test_a_level_is_clipped_and_logarithmic_where_asked() -> None:
    values = np.array([0, 1e-4, 1e-2, 1, 3], dtype=np.float32)
    np.testing.assert_allclose(level(values, Scale.LINEAR, 2.0, 1e-4), [0, 5e-5, 5e-3, 0.5, 1], rtol=1e-5)
    np.testing.assert_allclose(level(values, Scale.LOG, 1.0, 1e-4), [0, 0, 0.5, 1, 1], atol=1e-6)
    assert level(np.zeros(3, dtype=np.float32), Scale.LINEAR, 0.0, 1e-4).tolist() == [0, 0, 0]  # without a top


def test_the_scale_around_zero_is_coolwarm() -> None:
    places = np.linspace(-1, 1, 101)
    original = matplotlib.colormaps["coolwarm"]((places + 1) / 2)[:, :3] * 255
    assert np.abs(diverging(places).astype(float) - original).max() < 10


def test_zero_is_grey_and_neither_paper_nor_like_one_of_the_ends() -> None:
    red, green, blue = (int(part) for part in diverging(np.zeros(1))[0])
    assert max(red, green, blue) - min(red, green, blue) <= 2
    assert 255 - red > 25
    low, high = diverging(np.array([-1.0, 1.0])).astype(int)
    assert low[2] - low[0] > 100 and high[0] - high[2] > 100


def test_a_signed_level_keeps_its_sign_and_is_clipped() -> None:
    values = np.array([-9, -1, -1e-5, 0, 1, 2, np.nan], dtype=np.float32)
    np.testing.assert_allclose(signed_level(values, 2.0), [-1, -0.5, -5e-6, 0, 0.5, 1, np.nan], rtol=1e-5)
    assert signed_level(np.zeros(2, dtype=np.float32), 0.0).tolist() == [0, 0]  # without a top


def test_lines_differ_in_colour_marker_and_dashes() -> None:
    for one, other in combinations(STROKES, 2):
        assert one.ink != other.ink and one.marker != other.marker and one.dashes != other.dashes
        assert one.character != other.character and one.ascii_character != other.ascii_character
    assert all(stroke.ascii_character.isascii() and 60 < lightness(stroke.ink) < 205 for stroke in STROKES)


def test_shades_are_distinct() -> None:
    assert len(set(SHADES)) == len(SHADES) and len(set(ASCII_SHADES)) == len(ASCII_SHADES)
    assert ASCII_SHADES.isascii()


@pytest.mark.parametrize(
    ("module", "unwanted"),
    [
        ("palette", "matplotlib"),
        ("fold", "matplotlib"),
        ("terminal", "matplotlib"),
        ("image", "matplotlib.pyplot"),
        ("image", "torch"),
    ],
)
def test_importing_stays_light(module: str, unwanted: str) -> None:
    code = f"import sys, maskviz.render.{module}; sys.exit({unwanted!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_import_test_can_fail() -> None:
    code = "import sys, maskviz.render.image.page; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 1
