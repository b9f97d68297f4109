"""Code that is printed builds the mask it was printed for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskviz.conventions.source import known, lines_of, mask_mod_of
from maskviz.core.arrays import BoolArray
from tests.conventions.flex_masks import cells_of
from tests.core.test_rules import sees_by_diffusion


def built(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def held(visible: BoolArray, words: str | None = None) -> None:
    """Assert that three lines, and a mask_mod, are found that build this very mask."""
    found = known(visible)
    assert found is not None
    if words is not None:
        assert str(found.rule) == words
    code = lines_of(found)
    assert len(code.splitlines()) == (4 if "text = " in code else 3)
    made = built(code)["visible"]
    assert made.dtype is torch.bool
    assert np.array_equal(np.broadcast_to(made.numpy(), visible.shape), visible)
    names = built(mask_mod_of(found))
    assert np.array_equal(cells_of(names["mask_mod"], visible.shape), visible)
    assert names["block_mask"].shape[-2:] == visible.shape[-2:]


def ruled(queries: int, keys: int) -> tuple[Any, Any]:
    return np.arange(keys - queries, keys)[:, None], np.arange(keys)[None, :]


@pytest.mark.parametrize("queries", [9, 4, 1])
def test_each_known_rule_is_built_again_also_behind_a_cache(queries: int) -> None:
    query, key = ruled(queries, 9)
    cells = {
        "causal": key <= query,
        "causal ∧ window(3)": (key <= query) & (query - key < 3),
        "window(±2)": np.abs(query - key) <= 2,
    }
    for words, visible in cells.items():
        held(np.asarray(visible)[None, None], words if queries > 3 else None)
    held(np.ones((1, 1, queries, 9), bool), "bidirectional")


def test_chunks_and_padding_on_both_sides_are_built_again() -> None:
    query, key = ruled(12, 12)
    chunked = (query // 4 == key // 4)[None, None]
    held(chunked, "chunk(4)")
    starts, ends = np.array([0, 3])[:, None, None, None], np.array([8, 12])[:, None, None, None]
    held(np.asarray((key[None, None] < ends) & (query >= -1)[None, None]))
    held(np.asarray((key <= query)[None, None] & (key[None, None] < ends)), "causal ∧ padding")
    held(np.asarray((key <= query)[None, None] & (key[None, None] >= starts)), "causal ∧ padding")
    held(np.asarray((key[None, None] >= starts) & (key[None, None] < ends) & (query >= 0)[None, None]))


def test_a_triangle_that_starts_at_the_first_key_is_built_as_it_is() -> None:
    held(np.tril(np.ones((1, 1, 3, 8), bool)))


def test_a_mask_of_keys_alone_is_built_again() -> None:
    held((np.arange(6) < np.array([6, 2, 0])[:, None])[:, None, None, :])


@pytest.mark.parametrize(
    "visible",
    [
        np.array([[1, 0, 1, 1]], bool)[:, None, None, :],
        np.random.default_rng(0).random((1, 1, 6, 6)) < 0.5,
        np.stack([np.tril(np.ones((4, 4), bool)), np.ones((4, 4), bool)])[None],
    ],
    ids=["a hole", "chance", "heads that differ"],
)
def test_a_mask_without_a_known_rule_gets_no_code(visible: BoolArray) -> None:
    assert known(visible) is None


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 6), st.data())
def test_whatever_is_recognised_is_built_again_to_the_cell(
    rows: int, queries: int, keys: int, data: st.DataObject
) -> None:
    size = rows * queries * keys
    bits = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    visible = np.array(bits).reshape(rows, 1, queries, keys)
    if known(visible) is not None:
        held(visible)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 6),
    st.integers(1, 14),
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=3),
)
def test_blocks_and_prefixes_are_built_again_padded_on_both_sides(
    size: int, tokens: int, rows: list[tuple[int, int]]
) -> None:
    query, key = ruled(tokens, tokens)
    ends = np.array(rows)[:, :, None, None, None]
    keep = (key >= ends[:, 0]) & (key < tokens - ends[:, 1])
    blocks = np.asarray((key // size <= query // size) & keep)
    if all(len(np.unique(row[row.any(axis=-1)], axis=0)) > 1 for row in blocks[:, 0]):  # each row sees several blocks
        held(blocks)
    held(np.asarray(((key < size) | (key <= query)) & keep))
    held(np.asarray((key < ends[:, 0]) | (key <= query)))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 2))
def test_block_diffusion_is_built_again(size: int, length: int, padded: int) -> None:
    sees = sees_by_diffusion(size, length)
    tokens = range(2 * length)
    visible = np.array([[sees(0, query, key) for key in tokens] for query in tokens])[None, None]
    held(visible)
    if size < length > 1:
        held(visible, f"diffusion({size}, {length})")
    held(visible & (np.arange(2 * length) < 2 * length - padded))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(st.integers(0, 3), min_size=7, max_size=7), min_size=1, max_size=3), st.booleans())
def test_packed_texts_are_built_again_with_padding_anywhere_and_causal_or_not(
    rows: list[list[int]], causal: bool
) -> None:
    visible = np.zeros((len(rows), 1, 7, 7), bool)
    for row, numbers in enumerate(rows):
        for query, key in np.ndindex(7, 7):
            visible[row, 0, query, key] = numbers[query] == numbers[key] > 0 and (key <= query or not causal)
    if any(len({*numbers} - {0}) > 1 for numbers in rows):
        held(visible)


def test_packed_texts_of_several_lengths_are_called_documents() -> None:
    numbers = np.repeat([1, 2, 3], [3, 2, 4])
    texts = (numbers[:, None] == numbers)[None, None]
    held(texts, "document")
    held(np.tril(texts), "causal ∧ document")
    numbers[7:] = 0
    held((numbers[:, None] == numbers)[None, None] & (numbers > 0), "document ∧ padding")
