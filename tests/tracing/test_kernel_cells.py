"""What kernels let through: against torch's own kernels, and against flash attention's documentation."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from maskviz.core.arrays import BoolArray
from maskviz.tracing.backends.kernels import (
    Sequence,
    added_cells,
    block_cells,
    flash_cells,
    scaled_dot_product_cells,
)

LENGTHS = [(1, 5), (3, 5), (5, 5), (5, 3), (1, 1)]


def attended(attention: Any, queries: int, keys: int, heads: int = 2) -> BoolArray:
    """bool [batch, head, query, key]: where an attention gives weight, told by values that are one-hot."""
    torch.manual_seed(0)
    query, key = torch.randn(2, heads, queries, 16), torch.randn(2, heads, keys, 16)
    value = torch.eye(keys).expand(2, heads, keys, keys)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # flex_attention says that it runs uncompiled
        return np.asarray((attention(query, key, value) > 0).numpy())


@pytest.mark.parametrize("is_causal", [False, True])
@pytest.mark.parametrize(("queries", "keys"), LENGTHS)
def test_torchs_triangle_is_aligned_at_the_top_left(queries: int, keys: int, is_causal: bool) -> None:
    def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=is_causal)

    cells = scaled_dot_product_cells(None, is_causal, keys, (2, queries, keys))
    assert np.array_equal(np.broadcast_to(cells, (2, 2, queries, keys)), attended(attention, queries, keys))


def test_a_step_after_a_cache_sees_one_key_under_the_flag_and_all_without_it() -> None:
    assert scaled_dot_product_cells(None, True, 5, (1, 1, 5)).tolist() == [[[[True, False, False, False, False]]]]
    assert scaled_dot_product_cells(None, False, 5, (1, 1, 5)).all()


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("additive", [False, True])
def test_torch_obeys_a_mask_as_the_cells_say(additive: bool, heads: int) -> None:
    visible = torch.rand(2, heads, 4, 6, generator=torch.Generator().manual_seed(1)) > 0.4
    visible[..., 0] = True
    mask = torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min) if additive else visible

    def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)

    cells = scaled_dot_product_cells(mask, False, 6, (2, 4, 6))
    assert np.array_equal(np.broadcast_to(cells, (2, 2, 4, 6)), attended(attention, 4, 6))


def test_keys_that_are_cut_off_are_not_seen() -> None:
    cells = scaled_dot_product_cells(None, True, 3, (1, 3, 5))
    assert cells.shape == (1, 1, 3, 5)
    assert np.array_equal(cells[0, 0], np.tril(np.ones((3, 5), bool)))


def test_heads_grouped_in_place_of_a_single_query_are_heads_again() -> None:
    mask = torch.tensor([[True, False], [False, True], [True, True], [False, False]])  # [head, key]
    cells = scaled_dot_product_cells(mask.view(1, 2, 2, 2), False, 2, (1, 1, 2))
    assert np.array_equal(cells[0, :, 0], mask.numpy())


def test_a_boolean_mask_that_is_added_blocks_nothing() -> None:
    mask = torch.tensor([[[[True, False]]]])
    assert added_cells(mask, (1, 1, 2)).all()
    assert not added_cells(torch.tensor([[[[0.0, -1e30]]]]), (1, 1, 2)).all()


@pytest.mark.parametrize(("queries", "keys"), [(4, 6), (6, 6), (1, 6)])
def test_flex_attention_obeys_its_block_mask_as_the_cells_say(queries: int, keys: int) -> None:
    offset = keys - queries
    starts = torch.tensor([0, 2])

    def rule(row: Any, head: Any, query: Any, key: Any) -> Any:
        return (key <= query + offset) & (key >= starts[row])

    block_mask = create_block_mask(rule, 2, None, queries, keys, device="cpu")
    cells = block_cells(block_mask, None, (2, queries, keys))

    def attention(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor) -> Any:
        widened = torch.nn.functional.pad(value, (0, 2))  # torch 2.6 takes widths that are powers of two alone
        return flex_attention(query, key, widened, block_mask=block_mask)[..., :keys]

    assert np.array_equal(np.broadcast_to(cells, (2, 2, queries, keys)), attended(attention, queries, keys))


# The pictures flash_attn's docstring draws of its causal mask.
DRAWN = {
    (2, 5): [[1, 1, 1, 1, 0], [1, 1, 1, 1, 1]],
    (5, 2): [[0, 0], [0, 0], [0, 0], [1, 0], [1, 1]],
}


@pytest.mark.parametrize("shape", DRAWN)
def test_flash_attentions_triangle_is_aligned_at_the_bottom_right(shape: tuple[int, int]) -> None:
    queries, keys = shape
    one = Sequence(np.arange(queries), np.arange(keys))
    cells = flash_cells([one], True, (-1, -1), (1, queries, keys))
    assert cells[0, 0].astype(int).tolist() == DRAWN[shape]


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("window", [(-1, -1), (0, 0), (2, 2), (7, 7), (3, -1), (-1, 1)])
@pytest.mark.parametrize(("queries", "keys"), [(1, 8), (3, 8), (8, 8), (8, 5)])
def test_flash_attentions_window_counts_tokens_on_either_side(
    queries: int, keys: int, window: tuple[int, int], causal: bool
) -> None:
    """Its docstring: keys from i + keys - queries - left to i + keys - queries + right, both included."""
    one = Sequence(np.arange(queries), np.arange(keys))
    cells = flash_cells([one], causal, window, (1, queries, keys))
    for query in range(queries):
        place = query + keys - queries
        for key in range(keys):
            seen = (window[0] == -1 or key >= place - window[0]) and (window[1] == -1 or key <= place + window[1])
            assert cells[0, 0, query, key] == (seen and not (causal and key > place))


def test_what_is_in_no_text_neither_sees_nor_is_seen() -> None:
    texts = [Sequence(np.array([1, 2]), np.array([1, 2])), Sequence(np.array([3, 4]), np.array([3, 4]))]
    cells = flash_cells(texts, False, (-1, -1), (2, 3, 3))
    assert cells[0, 0].astype(int).tolist() == [[0, 0, 0], [0, 1, 1], [0, 1, 1]]
    assert cells[1, 0].astype(int).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 0]]
