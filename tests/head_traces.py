"""Made-up runs of a few heads: random attention under a random mask, with padding, repeats and special tokens."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.rules.algebra import Opaque
from maskviz.core.run.trace import AttentionCall, Batch, Mask, ModelCard, Trace
from maskviz.core.words import Role, Stack

CARD = ModelCard("made-up", "MadeUp", "made-up", False, (2,), (3,), (3,))
SPECIAL = 0


def attention(dice: np.random.Generator, visible: BoolArray, heads: int) -> FloatArray:
    """Random weights [batch, head, query, key] on visible cells, rows summing to 1; 0 in rows that see nothing."""
    batch, _, queries, keys = visible.shape
    raw = np.where(visible, dice.gamma(0.3, size=(batch, heads, queries, keys)) + 1e-9, 0.0)
    weights: FloatArray = (raw / np.maximum(raw.sum(-1, keepdims=True), 1e-12)).astype(np.float32)
    return weights


def mask_of(visible: BoolArray, offset: int = 0) -> Mask:
    """A mask of these visible cells, with no readable rule."""
    return Mask(visible, np.where(visible, 0, 128).astype(np.uint8), Opaque("made up"), query_offset=offset)


def batch_of(dice: np.random.Generator, lengths: tuple[int, ...], *, left: bool = False) -> Batch:
    """Rows of few different ids, so that they repeat; id 0 is a special token."""
    longest = max(lengths)
    ids = dice.integers(0, 5, (len(lengths), longest))
    keep = np.zeros(ids.shape, np.bool_)
    for row, length in enumerate(lengths):
        keep[row, slice(longest - length, longest) if left else slice(0, length)] = True
    roles = tuple(tuple(Role.SPECIAL if one == SPECIAL else Role.TEXT for one in row) for row in ids.tolist())
    roles = tuple(
        tuple(role if real else Role.PADDING for role, real in zip(row, kept, strict=True))
        for row, kept in zip(roles, keep.tolist(), strict=True)
    )
    tokens = tuple(tuple(f"t{one}" for one in row) for row in ids.tolist())
    return Batch(ids, keep, tokens, roles, tuple("a text" for _ in lengths))


def trace_of(
    seed: int, *, lengths: tuple[int, ...] = (7, 4), causal: bool = True, left: bool = False, offset: int = 0
) -> Trace:
    """A run of two layers of three heads; the second has a mask for each head that also blocks at random."""
    dice = np.random.default_rng(seed)
    batch = batch_of(dice, lengths, left=left)
    longest = max(lengths)
    place = np.arange(longest)
    allowed = (place <= place[offset:, None]) | (not causal)
    visible = batch.keep[:, None, None, :] & allowed
    per_head = visible & (dice.random((len(lengths), 3, longest - offset, longest)) < 0.8)
    calls = tuple(
        AttentionCall(
            Stack.DECODER if causal else Stack.ENCODER,
            layer,
            f"layers.{layer}",
            3,
            3,
            mask_of(cells, offset),
            attention(dice, cells, 3),
        )
        for layer, cells in enumerate((visible, per_head))
    )
    return Trace(CARD, batch, calls)


@st.composite
def traces(draw: st.DrawFn, *, offsets: bool = True) -> Trace:
    """Runs with any lengths, masks and padding."""
    lengths = tuple(draw(st.lists(st.integers(1, 9), min_size=1, max_size=3)))
    offset = draw(st.integers(0, max(lengths) - 1)) if offsets else 0
    return trace_of(
        draw(st.integers(0, 2**32 - 1)),
        lengths=lengths,
        causal=draw(st.booleans()),
        left=draw(st.booleans()),
        offset=offset,
    )
