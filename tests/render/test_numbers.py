"""Numbers as text: two digits, a sign, and zero for nothing but zero."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskviz.render.numbers import cell_text, number_text, runs, stretch, stretch_words, tick_text, ticks

numbers = st.floats(-1e30, 1e30, allow_subnormal=False)


@pytest.mark.parametrize(
    ("value", "text", "cell"),
    [
        (0.031, "+0.031", "+.031"),
        (1.2, "+1.2", "+1.2"),
        (-4e-5, "-4e-5", "-4e-5"),
        (3.14e-5, "+3.1e-5", "+3e-5"),
        (-0.0083, "-0.0083", "-8e-3"),
        (9.96, "+10", "+10"),
        (0.3, "+0.30", "+.30"),
        (1234, "+1234", "+1234"),
        (123456, "+1.2e5", "+1e5"),
        (-0.0, "0", "0"),
        (-math.inf, "-inf", "-inf"),
        (math.nan, "", ""),
    ],
)
def test_a_number_in_two_digits(value: float, text: str, cell: str) -> None:
    assert number_text(value, signed=True) == text
    assert number_text(value) == text.removeprefix("+")
    assert cell_text(value, signed=True, most=5) == cell


@given(numbers, st.booleans())
def test_text_reads_back_as_the_number_within_its_digits(value: float, signed: bool) -> None:
    assert float(number_text(value, signed=signed)) == pytest.approx(value, rel=0.051)
    assert float(cell_text(value, signed=signed, most=5)) == pytest.approx(value, rel=0.51)
    assert (number_text(value) == "0") == (cell_text(value, signed=True, most=5) == "0") == (value == 0)


@given(numbers, st.floats(1e-6, 1e6), st.integers(1, 12))
def test_ticks_are_few_round_and_inside(low: float, length: float, most: int) -> None:
    high = low + max(length, abs(low) * 1e-6)
    found = ticks(low, high, most)
    assert len(found) <= most + 1
    slack = (high - low) * 1e-6
    assert all(low - slack <= tick <= high + slack for tick in found)
    for one, other in pairwise(found):
        digits = f"{other - one:.0e}"[0]
        assert digits in "125"


def test_ticks_are_written_in_the_digits_they_have() -> None:
    assert [tick_text(tick) for tick in ticks(0, 0.31, 4)] == ["0", "0.1", "0.2", "0.3"]
    assert [tick_text(tick) for tick in ticks(-2e-5, 2e-5, 4)] == ["-2e-5", "-1e-5", "0", "1e-5", "2e-5"]
    assert tick_text(250000.0) == "250000"


@given(st.lists(st.booleans()))
def test_runs_are_the_stretches_of_true(known: list[bool]) -> None:
    found = runs(np.array(known, dtype=np.bool_))
    inside = [place for run in found for place in range(run.start, run.stop)]
    assert inside == [place for place, each in enumerate(known) if each]
    assert all(one.stop < other.start for one, other in pairwise(found))


def test_a_stretch_has_a_length_and_names_what_is_known() -> None:
    hole = np.array([np.nan, 2, -1, np.inf], dtype=np.float32)
    assert stretch(hole, None, 3.0) == (-1.0, 3.0)
    assert stretch(np.array([5.0])) == (4.5, 5.5)
    assert stretch(np.array([np.nan])) == (0.0, 1.0)
    assert stretch_words(hole[:3], signed=True) == ", from -1.0 to +2.0"
    assert stretch_words(hole[:1], signed=True) == ""
