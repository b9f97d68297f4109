"""Attention of modules that is added up as it is made, held against the whole maps of the same run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from maskviz.core.errors import CannotTraceError
from maskviz.core.run.trace import ModelCard
from maskviz.core.words import Way
from maskviz.tracing.long.tally import Keeping
from maskviz.tracing.modules.pooled import pool_module
from maskviz.tracing.modules.reading import Known
from maskviz.tracing.modules.run import run_module
from maskviz.tracing.modules.subjects import TorchSubject

ROWS, LENGTH, WIDTH, HEADS, TILE = 2, 40, 32, 4, 8
KNOWN = Known(ModelCard("m", "M", "torch module", False, (), (), ()), leading=ROWS)
GENERATOR = torch.Generator().manual_seed(0)
X = torch.randn(ROWS, LENGTH, WIDTH, generator=GENERATOR)
PADDING = torch.zeros(ROWS, LENGTH, dtype=torch.bool)
PADDING[1, 30:] = True
LATER = torch.ones(LENGTH, LENGTH, dtype=torch.bool).triu(1)
WILD = torch.rand(ROWS * HEADS, LENGTH, LENGTH, generator=GENERATOR) > 0.7
WILD[:, :, 0] = False
SLOPES = torch.arange(LENGTH) - torch.arange(LENGTH)[:, None] * 0.1


class Block(nn.Module):
    """Attention of one's own: fused, by hand, with fewer key heads, or under a mask."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how, self.num_heads = how, HEADS
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))

    def forward(self, x: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        query, key, value = (
            part(x).unflatten(-1, (HEADS, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        if self.how == "by hand":
            scores = (query @ key.mT / 3).masked_fill(LATER, float("-inf"))
            mixed = scores.softmax(-1) @ value
        elif self.how == "grouped":
            mixed = functional.scaled_dot_product_attention(
                query, key[:, :2], value[:, :2], is_causal=True, enable_gqa=True
            )
        else:
            mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=mask is None)
        put_out: torch.Tensor = mixed.transpose(1, 2).flatten(2)
        return put_out


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(WIDTH, HEADS, 64, batch_first=True), 2)


def transformer() -> nn.Module:
    torch.manual_seed(0)
    return nn.Transformer(WIDTH, HEADS, 1, 1, 64, batch_first=True)


CASES: dict[str, tuple[nn.Module, Mapping[str, Any], set[Way]]] = {
    "fused, causal": (Block("fused"), {"x": X}, {Way.BLOCKS}),
    "fused, padded": (Block("fused"), {"x": X, "mask": ~PADDING[:, None, None]}, {Way.BLOCKS}),
    "fused, a triangle": (Block("fused"), {"x": X, "mask": ~LATER}, {Way.BLOCKS}),
    "fused, a triangle with slopes": (
        Block("fused"),
        {"x": X, "mask": SLOPES.masked_fill(LATER, float("-inf"))},
        {Way.ROWS},
    ),
    "fused, fewer key heads": (Block("grouped"), {"x": X}, {Way.BLOCKS}),
    "by hand": (Block("by hand"), {"x": X}, {Way.LAYER}),
    "encoder": (encoder(), {"src": X}, {Way.BLOCKS}),
    "encoder, padded": (encoder(), {"src": X, "src_key_padding_mask": PADDING}, {Way.BLOCKS}),
    "encoder, causal and padded": (
        encoder(),
        {"src": X, "mask": LATER, "src_key_padding_mask": PADDING},
        {Way.BLOCKS},
    ),
    "encoder, a mask by head": (encoder(), {"src": X, "mask": WILD}, {Way.ROWS}),
    "encoder and decoder": (
        transformer(),
        {
            "src": X,
            "tgt": X[:, :24],
            "tgt_mask": LATER[:24, :24],
            "src_key_padding_mask": PADDING,
            "memory_key_padding_mask": PADDING,
        },
        {Way.BLOCKS},
    ),
}


@pytest.mark.parametrize("name", list(CASES))
def test_rows_tiles_and_rules_are_those_of_the_whole_maps(name: str) -> None:
    module, given, ways = CASES[name]
    subject = TorchSubject(module, (), given)
    whole = run_module(subject, KNOWN).trace
    pooled = pool_module(subject, KNOWN, lambda length: Keeping(TILE, tuple(range(length))))
    assert {call.way for call in pooled.calls} == ways
    for call, expected in zip(pooled.calls, whole.calls, strict=True):
        assert (call.stack, call.layer, call.heads, call.key_heads) == (
            *(expected.stack, expected.layer, expected.heads),
            expected.key_heads,
        )
        assert expected.pattern is not None
        if Way.BLOCKS in ways:
            assert str(call.rule) == str(expected.mask.rule)
        real = whole.real_queries(expected)
        queries = expected.pattern.shape[2]
        rows = np.swapaxes(call.rows, 1, 2)[:, :queries]
        np.testing.assert_allclose(rows[real], np.swapaxes(expected.pattern, 1, 2)[real], atol=2e-6)
        kept = np.where(real[:, None, :, None], expected.pattern, 0)
        tiles = kept.reshape(ROWS, call.heads, queries // TILE, TILE, -1, TILE).sum(axis=(3, 5))
        np.testing.assert_allclose(call.sums, tiles, atol=2e-5)


def test_a_module_without_attention_has_none_to_add_up() -> None:
    with pytest.raises(CannotTraceError, match="no attention to add up"):
        pool_module(TorchSubject(nn.Linear(WIDTH, 2), (X,)), KNOWN, lambda _: Keeping(TILE))
