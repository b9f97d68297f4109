"""The rule of a mask that came without one."""

from __future__ import annotations

import numpy as np
import pytest

from maskviz.core.algebra import Grid, Rule, all_of
from maskviz.core.arrays import Content
from maskviz.core.recognise import recognise
from maskviz.core.rules import Band, Causal, Chunk, Padding, Window


def _padding(*starts: int) -> Padding:
    return Padding(Content(np.arange(9) >= np.array(starts)[:, None], np.bool_))


def _chunk(size: int, *starts: int) -> Chunk:
    return Chunk(size, Content(np.array(starts), np.int64))


@pytest.mark.parametrize(
    ("rule", "queries", "first"),
    [
        (all_of(Causal(), Window(3)), 6, 3),
        (Causal(), 6, 0),
        (Band(2), 9, 0),
        (all_of(Causal(), _chunk(4, 0, 0)), 9, 0),
        (all_of(Causal(), _chunk(4, 0, 0)), 6, 3),
        (all_of(Causal(), _chunk(4, 1, 3), _padding(1, 3)), 9, 0),
        (all_of(Causal(), _padding(0, 2)), 9, 0),
        (_chunk(3, 0, 0), 9, 0),
    ],
    ids=str,
)
def test_a_rule_is_found_again_in_its_cells(rule: Rule, queries: int, first: int) -> None:
    at = Grid.of(2, queries, 9, first)
    cells = np.array(np.broadcast_to(rule.visible(at), at.shape))
    assert str(recognise(cells, None, first)) == str(rule)


def test_cells_that_follow_no_rule_have_none() -> None:
    cells = np.ones((1, 1, 6, 6), np.bool_)
    cells[0, 0, 2, 4] = False
    assert not recognise(cells, None).readable
