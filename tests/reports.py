"""Reports to write and to open: of random attention, of any rule, of any text."""

from __future__ import annotations

import numpy as np

from maskviz.core.arrays import FloatArray
from maskviz.core.rules.algebra import Rule
from maskviz.core.rules.kinds import Causal
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import AttentionCall, Batch, Mask, ModelCard, Trace
from maskviz.core.words import Role, Stack

CARD = ModelCard("a model", "AModel", "a", False, (2,), (3,), (3,))


def batch_of(rows: int, length: int, token: str = "word", keep: list[list[bool]] | None = None) -> Batch:
    kept = np.ones((rows, length), np.bool_) if keep is None else np.array(keep)
    roles = tuple(tuple(Role.TEXT if one else Role.PADDING for one in row) for row in kept.tolist())
    return Batch(np.zeros((rows, length), np.int64), kept, ((token,) * length,) * rows, roles, (token,) * rows)


def mask_of(rule: Rule, rows: int, queries: int, keys: int, offset: int = 0) -> Mask:
    visible = np.ones((rows, 1, queries, keys), np.bool_)
    if rule.readable:
        visible &= rule.visible(Mask(visible, np.zeros(visible.shape, np.uint8), rule, query_offset=offset).grid)
    return Mask.explained(visible, rule, query_offset=offset, otherwise=Reason.OTHER)


def attention(mask: Mask, heads: int, sharpness: float = 3.0, seed: int = 0) -> FloatArray:
    """Softmax of random scores [batch, head, query, key] where the mask lets them."""
    rows, _, queries, keys = mask.visible.shape
    scores = np.random.default_rng(seed).normal(0, sharpness, (rows, heads, queries, keys))
    weights = np.where(mask.visible, np.exp(scores), 0.0)
    return np.asarray(weights / np.maximum(weights.sum(-1, keepdims=True), 1e-30), np.float32)


def trace_of(mask: Mask | None = None, *, layers: int = 2, heads: int = 3, batch: Batch | None = None) -> Trace:
    mask = mask_of(Causal(), 1, 8, 8) if mask is None else mask
    rows, _, queries, _ = mask.visible.shape
    batch = batch_of(rows, queries + mask.query_offset) if batch is None else batch
    calls = tuple(
        AttentionCall(Stack.DECODER, layer, f"layers.{layer}", heads, heads, mask, attention(mask, heads, seed=layer))
        for layer in range(layers)
    )
    return Trace(CARD, batch, calls)
