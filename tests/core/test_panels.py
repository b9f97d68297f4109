"""Panels refuse arrays that do not fit what they name, and seal the others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from maskviz.core.panels.charts import Bars, Curve, CurveLine
from maskviz.core.panels.page import Matrix

ONE, TWO, THREE = (np.arange(count, dtype=np.float32) for count in (1, 2, 3))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Matrix("m", "", np.zeros((2, 3), np.float32), ("a",), ("b", "c", "d"), 1.0, "nats"), "1 rows"),
        (lambda: Bars("b", "", ("a", "b"), THREE, "nats"), "values"),
        (lambda: Bars("b", "", ("a", "b"), TWO, "nats", TWO, THREE), "high"),
        (lambda: Bars("b", "", ("a", "b"), TWO, "nats", TWO), "low and a high"),
        (lambda: CurveLine("l", TWO, high=TWO), "low and a high"),
        (lambda: CurveLine("l", TWO, ONE, ONE), "low"),
        (lambda: Curve("c", "", THREE, "x", "y", (CurveLine("l", TWO),)), "'l'"),
        (lambda: Curve("c", "", THREE[::-1], "x", "y", ()), "ascending"),
        (lambda: Curve("c", "", THREE * np.float32(np.nan), "x", "y", ()), "finite"),
    ],
)
def test_a_panel_refuses_arrays_that_do_not_fit(make: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_arrays_of_a_panel_are_sealed() -> None:
    bars = Bars("b", "", ("a", "b"), TWO, "nats", TWO, TWO)
    line = CurveLine("l", TWO)
    for array in (bars.values, bars.low, line.values, Curve("c", "", TWO, "x", "y", (line,)).x):
        assert array is not None and not array.flags.writeable
