"""A mask file handed to the attention of its framework, as it is: what gets through, and what comes out."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import torch

from maskviz.core.arrays import BoolArray
from maskviz.core.checks.case import GivenArray, Trial
from maskviz.core.checks.intended import TORCH_MHA, batch_of, meant_by
from maskviz.core.words import Dialect

# Width of a head, and the seed of the random queries, keys and values.
_WIDTH, _SEED = 16, 0
# More cells than this, over rows and heads, are not tried: a trial is an example.
_MOST_CELLS = 2**26


def tried(array: GivenArray) -> GivenArray:
    """The same array with what its framework's attention made of it, on random numbers; as it is where there is no
    framework at hand, or the array is none it could be handed.

    Additive masks of transformers' eager attention are added to the scores before the softmax, as its modeling files
    do; sdpa and nn.MultiheadAttention are torch's own.
    """
    if array.values.ndim < 2 or not array.values.size or array.values.size > _MOST_CELLS:
        return array
    if array.dialect in (Dialect.HF_4D, Dialect.SDPA):
        return replace(array, trial=_of_scores(array))
    if array.dialect in TORCH_MHA:
        return replace(array, trial=_of_module(array))
    return array


def _of_scores(array: GivenArray) -> Trial | None:
    """Attention of [batch, head, query, key], its values unit vectors: what comes out are the weights."""
    mask = torch.from_numpy(np.array(array.values))
    if array.values.dtype.kind == "f":
        mask = mask.float()
    shape = (*(1,) * (4 - mask.ndim), *mask.shape)
    rows, heads = array.sizes.batch or shape[0], array.sizes.heads or shape[1]
    queries, keys = (array.sizes.queries if shape[2] == 1 else None) or shape[2], shape[3]
    if rows * heads * queries * keys > _MOST_CELLS:
        return None
    generator = torch.Generator().manual_seed(_SEED)
    query = torch.randn(rows, heads, queries, _WIDTH, generator=generator)
    key = torch.randn(rows, heads, keys, _WIDTH, generator=generator)
    try:
        if array.dialect is Dialect.SDPA:
            values = torch.eye(keys).expand(rows, heads, keys, keys)
            weights = torch.nn.functional.scaled_dot_product_attention(query, key, values, attn_mask=mask)
        else:
            weights = (query @ key.mT / math.sqrt(_WIDTH) + mask).softmax(dim=-1)
    except (RuntimeError, ValueError, TypeError) as error:
        return Trial(refused=_said(error))
    return Trial(leaked=_leaked(weights, meant_by(array)), not_numbers=_not_numbers(weights))


def _of_module(array: GivenArray) -> Trial | None:
    """nn.MultiheadAttention in evaluation mode, with weights asked for and without."""
    mask = torch.from_numpy(np.array(array.values))
    heads = array.sizes.heads or 1
    rows = array.sizes.batch or batch_of(array) or (mask.shape[0] // heads if mask.ndim == 3 else 1)
    queries, keys = mask.shape[-2:]
    if not rows or rows * heads * queries * keys > _MOST_CELLS:
        return None
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(_SEED)
        module = torch.nn.MultiheadAttention(heads * _WIDTH, heads, batch_first=True).eval()
        query, key = (torch.randn(rows, length, heads * _WIDTH) for length in (queries, keys))
        try:
            output, weights = module(query, key, key, attn_mask=mask, average_attn_weights=False)
            plain, _ = module(query, key, key, attn_mask=mask, need_weights=False)
        except (RuntimeError, ValueError, TypeError, AssertionError) as error:
            return Trial(refused=_said(error))
    return Trial(_leaked(weights, meant_by(array)), _not_numbers(weights), _difference(output, plain))


def _leaked(weights: torch.Tensor, meant: BoolArray | None) -> float | None:
    """Largest share of a query's attention on cells that are meant to be blocked, rows without a number aside."""
    if meant is None or not meant.any():
        return None
    try:
        cells = np.broadcast_to(meant, tuple(weights.shape))
    except ValueError:
        return None
    blocked = torch.from_numpy(np.array(~cells & cells.any(axis=-1, keepdims=True)))
    shares = weights.nan_to_num(0.0).masked_fill(~blocked, 0.0).sum(dim=-1)
    return float(shares.max())


def _not_numbers(weights: torch.Tensor) -> int:
    """Queries of any row with a head that is not a number."""
    return int(torch.isnan(weights).any(dim=-1).any(dim=1).sum())


def _difference(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference; NaN where one of them alone is not a number, 0 where both are none."""
    only = torch.isnan(one) != torch.isnan(other)
    return math.nan if bool(only.any()) else float((one - other).nan_to_num(0.0).abs().max())


def _said(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:160]
