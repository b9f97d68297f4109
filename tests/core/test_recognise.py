"""The rule of a mask that came without one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from maskviz.core.arrays import Content
from maskviz.core.rules.algebra import Everything, Grid, Rule, all_of
from maskviz.core.rules.kinds import Band, BlockCausal, BlockDiffusion, Causal, Chunk, Padding, Prefix, Window
from maskviz.core.rules.recognise import recognise


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
        (BlockCausal(4), 9, 0),
        (BlockCausal(2), 6, 3),
        (all_of(BlockCausal(2), _padding(3, 0)), 9, 0),
        (all_of(BlockCausal(2), _padding(4, 5)), 9, 0),
        (Prefix(Content([3, 3], np.int64)), 9, 0),
        (Prefix(Content([3, 6], np.int64)), 9, 0),
        (all_of(Prefix(Content([3, 0], np.int64)), _padding(1, 0)), 9, 0),
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


@pytest.mark.parametrize(("size", "length"), [(1, 4), (2, 4), (3, 7), (2, 5)])
@pytest.mark.parametrize("padded", [0, 2])
def test_block_diffusion_is_found_again_also_padded(size: int, length: int, padded: int) -> None:
    rule, at = BlockDiffusion(size, length), Grid.of(2, 2 * length, 2 * length)
    keep = np.arange(2 * length) % length < length - np.array([0, padded])[:, None]  # the same tokens of both halves
    cells = np.array(np.broadcast_to(rule.visible(at), at.shape)) & keep[:, None, None]
    assert str(recognise(cells, keep)) == (f"{rule} ∧ padding" if padded else str(rule))


@given(st.integers(1, 9), st.integers(1, 12), st.integers(0, 4), st.integers(0, 4))
def test_blocks_are_claimed_where_their_cells_are_those_of_no_plainer_rule(
    size: int, tokens: int, left: int, right: int
) -> None:
    at = Grid.of(1, tokens, tokens)
    keep = (np.arange(tokens) >= left) & (np.arange(tokens) < tokens - right)
    cells = np.asarray(BlockCausal(size).visible(at)) & keep
    assume(len(np.unique(cells[cells.any(axis=-1)], axis=0)) > 1)  # several blocks are seen
    found = recognise(np.array(np.broadcast_to(cells, at.shape)), keep[None])
    assert np.array_equal(np.broadcast_to(found.visible(at), at.shape), np.broadcast_to(cells, at.shape))
    blocks = [leaf for leaf in found.leaves() if isinstance(leaf, BlockCausal)]
    for plainer in (Causal(), Everything(), Prefix(Content([size], np.int64))):
        if np.array_equal(np.asarray(plainer.visible(at)) & keep, cells):
            assert blocks == []


def test_a_mask_that_one_size_of_blocks_does_not_explain_is_no_block_mask() -> None:
    at = Grid.of(1, 12, 12)
    cells = np.array(np.broadcast_to(BlockCausal(4).visible(at), at.shape))
    cells[0, 0, 2, 6] = True
    assert not recognise(cells, None).readable


def test_blocks_of_which_one_query_is_seen_are_not_told_from_less() -> None:
    at = Grid.of(1, 1, 12, 6)
    cells = np.array(np.broadcast_to(BlockCausal(4).visible(at), at.shape))
    assert not any(isinstance(leaf, BlockCausal) for leaf in recognise(cells, None, 6).leaves())
