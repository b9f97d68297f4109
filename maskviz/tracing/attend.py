"""Masked multi-head attention, written to be read.

    Attention(Q, K, V) = softmax(Q Kᵀ · scale + bias, masked) V        (Vaswani et al. 2017, section 3.2)

All heads at once: the projections are split by a view and a transpose, never by a loop. This is the twin that the
captured calls and torch's own `multi_head_attention_forward` are compared with; models run their own code.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class AttentionOutput:
    """What masked attention returns.

    Attributes:
        output: [batch, query, width], heads joined and projected.
        pattern: [batch, head, query, key], after softmax and before any gate.
    """

    output: Tensor
    pattern: Tensor


@dataclass(frozen=True, slots=True)
class HeadProjections:
    """The four linear maps of an attention layer, as `torch.nn.Linear` stores them: [out, in] and [out] or None."""

    query: Tensor
    key: Tensor
    value: Tensor
    output: Tensor
    query_bias: Tensor | None = None
    key_bias: Tensor | None = None
    value_bias: Tensor | None = None
    output_bias: Tensor | None = None


def attend(
    queries_from: Tensor,
    keys_from: Tensor,
    weights: HeadProjections,
    heads: int,
    visible: Tensor,
    gates: Tensor | None = None,
) -> AttentionOutput:
    """Run masked multi-head attention.

    Args:
        queries_from: [batch, query, width], what the queries are projected from.
        keys_from: [batch, key, width], what keys and values are projected from; the same for self attention.
        weights: The projections. Keys and values may have fewer heads than queries (grouped-query attention).
        heads: Query heads.
        visible: bool, broadcastable to [batch, head, query, key], True = the query may attend to the key.
        gates: float [head], 1 keeps a head and 0 silences it, applied before the output projection; None keeps all.
    """
    query = split_heads(torch.nn.functional.linear(queries_from, weights.query, weights.query_bias), heads)
    head_width = query.shape[-1]
    key_heads = weights.key.shape[0] // head_width
    key = split_heads(torch.nn.functional.linear(keys_from, weights.key, weights.key_bias), key_heads)
    value = split_heads(torch.nn.functional.linear(keys_from, weights.value, weights.value_bias), key_heads)
    mixed, pattern = attend_heads(query, key, value, visible, scale=head_width**-0.5)
    if gates is not None:
        mixed = mixed * gates.view(1, -1, 1, 1)
    output = torch.nn.functional.linear(join_heads(mixed), weights.output, weights.output_bias)
    return AttentionOutput(output, pattern)


def attend_heads(
    query: Tensor, key: Tensor, value: Tensor, visible: Tensor, scale: float, bias: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Masked attention of heads that are already split.

    Args:
        query: [batch, head, query, head width].
        key, value: [batch, key head, key, head width]; query head h reads key head h // (heads // key heads).
        visible: bool, broadcastable to [batch, head, query, key], True = may attend.
        scale: Factor on the scores, usually 1 / sqrt(head width).
        bias: float, broadcastable to [batch, head, query, key], added to the scores (ALiBi, relative positions).

    Returns:
        The mixed values [batch, head, query, head width] and the pattern [batch, head, query, key]. A query that
        sees nothing gets a row of zeros, not of NaN.
    """
    group = query.shape[1] // key.shape[1]
    key = key.repeat_interleave(group, dim=1)
    value = value.repeat_interleave(group, dim=1)
    scores = query @ key.transpose(-2, -1) * scale
    if bias is not None:
        scores = scores + bias
    scores = scores.masked_fill(~visible, float("-inf"))
    pattern = torch.softmax(scores, dim=-1).nan_to_num(0.0)
    return pattern @ value, pattern


def split_heads(projected: Tensor, heads: int) -> Tensor:
    """[batch, token, heads * head width] -> [batch, head, token, head width]: a view and a transpose."""
    batch, tokens, width = projected.shape
    return projected.view(batch, tokens, heads, width // heads).transpose(1, 2)


def join_heads(mixed: Tensor) -> Tensor:
    """[batch, head, token, head width] -> [batch, token, heads * head width]: the way back."""
    batch, heads, tokens, width = mixed.shape
    return mixed.transpose(1, 2).reshape(batch, tokens, heads * width)
