"""What is told cell by cell is what is told of runs, and of rules without runs what a loop finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch.nn.attention.flex_attention import create_block_mask

from maskviz.analyse.sparsity import cost_of_cells, count_blocks, mask_cost
from maskviz.core.rules import folding_cells
from maskviz.core.rules.algebra import Opaque, Rule
from maskviz.core.rules.extents import Lengths
from maskviz.core.rules.folding import count_cells, fold_rule
from maskviz.core.rules.folding_cells import blocks_of_cells, by_cells, count_every_cell, fold_every_cell
from maskviz.core.rules.kinds import BlockDiffusion
from tests.rules_to_fold import rules, sizes

in_bands = pytest.mark.usefixtures("_few_queries_at_a_time")
with_bands = settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def _few_queries_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding_cells, "_BAND", 60)


@in_bands
@with_bands
@given(st.data(), rules(), sizes, st.integers(1, 6))
def test_cells_asked_one_by_one_give_the_tiles_and_counts_of_runs(
    data: st.DataObject, rule: Rule, size: Lengths, tile: int
) -> None:
    meaningless = data.draw(arrays(np.bool_, size.queries))
    np.testing.assert_array_equal(
        fold_every_cell(rule, size, tile, meaningless), fold_rule(rule, size, tile, meaningless)
    )
    assert count_every_cell(rule, size) == count_cells(rule, size)
    blocks = count_blocks(rule, size, tile)
    assert blocks is not None
    assert blocks_of_cells(rule, size, tile) == (blocks.full, blocks.partial)


def test_block_diffusion_is_counted_as_torch_counts_its_blocks() -> None:
    rule, tokens = BlockDiffusion(100, 450), 900
    assert mask_cost(rule, Lengths(tokens, tokens)) is None
    cost = cost_of_cells(rule, Lengths(tokens, tokens))
    assert cost is not None
    cells = sum(
        (query % 450 // 100 == key % 450 // 100 and query < 450 and key < 450)
        or (query < 450 <= key and key % 450 // 100 < query // 100)
        or (query >= 450 and key >= 450 and key % 450 // 100 <= query % 450 // 100)
        for query in range(tokens)
        for key in range(tokens)
    )
    assert cost.count.visible == cells

    def mask_mod(batch: object, head: object, query: object, key: object) -> object:
        own, other = query % 450 // 100, key % 450 // 100  # type: ignore[operator]
        noisy = (query < 450) & (((key < 450) & (own == other)) | ((key >= 450) & (other < own)))  # type: ignore[operator]
        return noisy | ((query >= 450) & (key >= 450) & (other <= own))  # type: ignore[operator]

    theirs = create_block_mask(mask_mod, None, None, tokens, tokens, device="cpu")  # type: ignore[arg-type]
    assert theirs.full_kv_num_blocks is not None
    full, partial = int(theirs.full_kv_num_blocks.sum()), int(theirs.kv_num_blocks.sum())
    assert (cost.blocks.full, cost.blocks.partial) == (full, partial)


def test_a_rule_that_cannot_be_read_and_a_square_too_large_are_not_asked() -> None:
    assert not by_cells(Opaque("own"), Lengths(4, 4))
    assert not by_cells(BlockDiffusion(4, 50_000), Lengths(100_000, 100_000))
    assert cost_of_cells(BlockDiffusion(4, 50_000), Lengths(100_000, 100_000)) is None
