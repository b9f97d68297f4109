"""Rules read from transformers' mask functions, polarity read from numbers, layers read from paths."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from transformers import masking_utils as m

from maskviz.core.arrays import Content
from maskviz.core.rules.algebra import Everything, Grid, Opaque, Rule, all_of, any_of
from maskviz.core.rules.kinds import Band, Causal, Chunk, Document, Padding, Repositioned, Window
from maskviz.core.words import Stack
from maskviz.tracing.calling import visible_cells
from maskviz.tracing.meaning.hearing import layers_of, stacks_of
from maskviz.tracing.seam.masks import rule_of

KEEP = torch.tensor([[False, True, True, True], [True, True, True, True]])
PACKED = torch.tensor([[0, 0, 1, 1], [0, 1, 1, 1]])
POSITIONS = torch.tensor([[0, 1, 0, 1], [0, 0, 1, 2]])

FUNCTIONS: list[tuple[Callable[..., Any], Rule]] = [
    (m.causal_mask_function, Causal()),
    (m.bidirectional_mask_function, Everything()),
    (m.sliding_window_causal_mask_function(3), all_of(Causal(), Window(3))),
    (
        m.chunked_causal_mask_function(2, torch.tensor([1, 0])),
        all_of(Causal(), Chunk(2, Content([1, 0], np.int64))),
    ),
    (
        m.and_masks(m.causal_mask_function, m.padding_mask_function(KEEP)),
        all_of(Causal(), Padding(Content(KEEP.numpy(), np.bool_))),
    ),
    (m.or_masks(m.causal_mask_function, m.sliding_window_overlay(1)), any_of(Causal(), Window(1))),
    (m.packed_sequence_mask_function(PACKED), Document(Content(PACKED.numpy(), np.int64))),
]


if hasattr(m, "sliding_window_bidirectional_mask_function"):  # not in the first releases of transformers 5
    FUNCTIONS += [(m.sliding_window_bidirectional_mask_function(2), Band(2))]


@pytest.mark.parametrize(("function", "rule"), FUNCTIONS, ids=[str(rule) for _, rule in FUNCTIONS])
def test_a_mask_function_reads_as_its_rule_and_shows_the_same_cells(function: Callable[..., Any], rule: Rule) -> None:
    assert rule_of(function) == rule
    assert_same_cells(function, rule)


def packed(function: Callable[..., Any], positions: torch.Tensor) -> Callable[..., Any]:
    """A mask function as transformers asks it about packed texts."""
    inner = m.remap_positions_for_packed_sequence(function, positions)
    both: Callable[..., Any] = m.and_masks(m.packed_sequence_mask_function(PACKED), inner)
    return both


def assert_same_cells(function: Callable[..., Any], rule: Rule) -> None:
    at = Grid.of(2, 4, 4)
    own = function(*(torch.as_tensor(index) for index in (at.batch, np.zeros((1, 1, 1, 1), int), at.query, at.key)))
    assert np.array_equal(np.broadcast_to(own.numpy(), at.shape), np.broadcast_to(rule.visible(at), at.shape))


def test_packed_positions_are_read() -> None:
    if not hasattr(m, "remap_positions_for_packed_sequence"):
        pytest.skip("transformers before 5.10 does not remap packed positions")
    document, positions = Document(Content(PACKED.numpy(), np.int64)), Content(POSITIONS.numpy(), np.int64)
    window = packed(m.sliding_window_causal_mask_function(2), POSITIONS)
    assert str(rule_of(window)) == "causal ∧ window(2) ∧ document"
    assert_same_cells(window, rule_of(window))
    chunk = packed(m.chunked_causal_mask_function(2, torch.tensor([0, 0])), POSITIONS)
    inner = all_of(Causal(), Chunk(2, Content([0, 0], np.int64)))
    assert rule_of(chunk) == all_of(document, Repositioned(inner, positions))
    assert str(rule_of(chunk)) == "causal ∧ chunk(2) ∧ document"
    assert_same_cells(chunk, rule_of(chunk))


def test_positions_that_do_not_run_on_within_a_document_are_asked_for() -> None:
    if not hasattr(m, "remap_positions_for_packed_sequence"):
        pytest.skip("transformers before 5.10 does not remap packed positions")
    jumping = torch.tensor([[0, 3, 0, 1], [0, 0, 1, 5]])
    function = packed(m.sliding_window_causal_mask_function(2), jumping)
    assert any(isinstance(part, Repositioned) for part in rule_of(function).parts)  # type: ignore[attr-defined]
    assert_same_cells(function, rule_of(function))


def test_an_unknown_function_is_opaque_and_named() -> None:
    def own_rule(batch: Any, head: Any, query: Any, key: Any) -> Any:
        return key < 2

    assert rule_of(own_rule) == Opaque("test_reading.test_an_unknown_function_is_opaque_and_named.own_rule")
    assert str(rule_of(m.and_masks(m.causal_mask_function, own_rule))).startswith("causal ∧ opaque(")


@pytest.mark.parametrize(
    "constant",
    [torch.finfo(torch.float32).min, float("-inf"), -1e30, -1e9, -1e4],
)
def test_blocked_is_read_from_every_constant_the_field_uses(constant: float) -> None:
    scores = torch.tensor([0.5, constant, -3.0, constant + 1.5])
    assert visible_cells(scores).tolist() == [True, False, True, False]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_blocked_is_read_in_every_float_type(dtype: torch.dtype) -> None:
    scores = torch.tensor([0.0, torch.finfo(dtype).min], dtype=dtype)
    assert visible_cells(scores).tolist() == [True, False]


def test_a_mask_of_two_constants_is_read_whole() -> None:
    """OpenAI GPT blocks the future with -1e4 and padding with the type's minimum."""
    scores = torch.tensor([0.0, -1e4 + 3.0, torch.finfo(torch.float32).min, -800.0])
    assert visible_cells(scores).tolist() == [True, False, False, True]


def test_booleans_are_true_where_visible() -> None:
    assert visible_cells(torch.tensor([True, False])).tolist() == [True, False]


@pytest.mark.parametrize(
    ("paths", "count", "layers"),
    [
        (["model.layers.0.self_attn", "model.layers.1.self_attn"], 2, [0, 1]),
        (["layers.1.attn", "layers.4.attn"], 6, [1, 4]),
        (["albert.layer.0.attention"] * 3, 3, [0, 1, 2]),
        (["layer.0.attention", "layer.0.attention", "layer.1.attention", "layer.1.attention"], 4, [0, 1, 2, 3]),
        (["layers.0.attn", "layers.0.attn", "layers.1.attn", "layers.1.attn"], 2, [0, 0, 1, 1]),
        (["attention"], 1, [0]),
    ],
    ids=["one each", "hybrid", "one shared module", "two shared modules", "two calls each", "no number"],
)
def test_layers_are_the_numbers_in_the_paths_unless_fewer_modules_than_layers_run(
    paths: list[str], count: int, layers: list[int]
) -> None:
    stacks = stacks_of(paths, encoder_decoder=False, causal=True)
    assert set(stacks) == {Stack.DECODER}
    assert layers_of(paths, stacks, {Stack.DECODER: count}) == layers


def test_the_second_attention_of_a_decoder_block_is_the_cross_attention() -> None:
    paths = [
        "model.encoder.block.0.layer.0.SelfAttention",
        "model.decoder.block.0.layer.0.SelfAttention",
        "model.decoder.block.0.layer.1.EncDecAttention",
        "model.decoder.block.1.layer.0.SelfAttention",
        "model.decoder.block.1.layer.1.EncDecAttention",
    ]
    stacks = stacks_of(paths, encoder_decoder=True, causal=False)
    assert stacks == [Stack.ENCODER, Stack.DECODER, Stack.CROSS, Stack.DECODER, Stack.CROSS]
    assert layers_of(paths, stacks, {}) == [0, 0, 0, 1, 1]
