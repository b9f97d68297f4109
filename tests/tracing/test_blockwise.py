"""Our own arithmetic on blocks, beside torch's scaled_dot_product_attention, at lengths of several blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskviz.core.arrays import Content
from maskviz.core.rules.algebra import Everything, Grid, Rule, all_of
from maskviz.core.rules.extents import Lengths
from maskviz.core.rules.kinds import Band, Causal, Chunk, Document, Padding, Window
from maskviz.core.run.trace import Batch
from maskviz.core.words import Role, Stack
from maskviz.tracing.long.own_arithmetic import Heads, attend_by_blocks
from maskviz.tracing.long.rehearsal import RehearsedPart, sides_of
from maskviz.tracing.long.tally import Keeping, Tally

LENGTH = 300
KEEP = np.ones((2, LENGTH), np.bool_)
KEEP[1, 250:] = False
DOCUMENTS = np.repeat([[0, 1, 2]], [90, 10, 200], axis=1)
RULES = [
    Everything(),
    Causal(),
    all_of(Causal(), Window(5)),
    all_of(Causal(), Window(130)),
    Band(40),
    all_of(Causal(), Chunk(70, Content(np.array([0, 13]), np.int64))),
    all_of(Causal(), Document(Content(np.repeat(DOCUMENTS, 2, axis=0), np.int64))),
    all_of(Causal(), Padding(Content(KEEP, np.bool_))),
    Padding(Content(KEEP, np.bool_)),
]


@pytest.mark.parametrize("tile", [3, 64, 100])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_blocks_are_softmax_attention_under_the_rule(rule: Rule, tile: int) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, heads, LENGTH, 16) for heads in (6, 2, 2))
    ids = np.random.default_rng(0).integers(0, 50, (2, LENGTH))
    words, roles = (tuple((one,) * LENGTH for _ in range(2)) for one in ("w", Role.TEXT))
    batch = Batch(ids, KEEP, words, roles)  # type: ignore[arg-type]
    [sides] = sides_of({("a", 0): RehearsedPart(Stack.ENCODER, 0, 6, 2)}, batch, query.device).values()
    tally = Tally(Keeping(tile), sides, 6, query.device)
    extents = rule.extents(Lengths(LENGTH, LENGTH))
    assert extents is not None

    output = attend_by_blocks(Heads(query, key, value, 0.25), extents, tile, tally)

    seen = torch.as_tensor(np.broadcast_to(rule.visible(Grid.of(2, LENGTH, LENGTH)), (2, 1, LENGTH, LENGTH)).copy())
    key, value = (one.repeat_interleave(3, dim=1) for one in (key, value))
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=0.25)
    weights = (query @ key.transpose(2, 3) * 0.25).masked_fill(~seen, -torch.inf).softmax(-1)
    real = torch.as_tensor(KEEP)[:, None, :, None]
    torch.testing.assert_close(output.transpose(1, 2) * real, expected * real, atol=1e-5, rtol=1e-5)
    sums = tally.kept([]).sums
    for down in range(0, LENGTH, tile):
        for across in range(0, LENGTH, tile):
            part = (weights * real)[:, :, down : down + tile, across : across + tile].sum((2, 3))
            np.testing.assert_allclose(sums[:, :, down // tile, across // tile], part, atol=1e-5, rtol=1e-5)
