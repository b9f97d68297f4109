"""What attention kernels let through, by their documentation: the arguments of a kernel become visible cells."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.attention.flex_attention import create_mask

from maskviz.core.arrays import BoolArray, IntArray
from maskviz.tracing.listen.recorder import broadcast_cells
from maskviz.tracing.outputs import to_array, visible_cells

# Rows of the batch, queries, keys.
Shape = tuple[int, int, int]


def added_cells(mask: torch.Tensor | None, shape: Shape) -> BoolArray:
    """bool [batch, 1 or head, query, key] of a mask that is added to the scores, True = may attend.

    A boolean mask is added as 0 and 1, and so blocks nothing.
    """
    if mask is None:
        return np.ones((shape[0], 1, *shape[1:]), np.bool_)
    return broadcast_cells(visible_cells(mask.float()), shape)


def scaled_dot_product_cells(mask: torch.Tensor | None, is_causal: bool, keys: int, shape: Shape) -> BoolArray:
    """bool [batch, 1 or head, query, key] of torch's scaled_dot_product_attention, True = may attend.

    Args:
        mask: bool, True = may attend, or float that is added; [batch, 1 or head, query, key].
        is_causal: Query i sees keys 0 to i, wherever the last query stands: a triangle aligned at the top left.
        keys: Keys the kernel is given, the first of the `shape`'s; the others are not seen.
        shape: Of the call.
    """
    batch, queries, all_keys = shape
    if mask is None:
        inner: BoolArray = np.ones((queries, keys), np.bool_)
        cells = np.broadcast_to(np.tril(inner) if is_causal else inner, (batch, 1, queries, keys))
    else:
        if mask.ndim == 4 and mask.shape[1] > 1:  # grouped heads take the place of a single query
            mask = mask.reshape(mask.shape[0], -1, queries, mask.shape[-1])
        cells = broadcast_cells(visible_cells(mask), (batch, queries, keys))
    return np.pad(cells, ((0, 0), (0, 0), (0, 0), (0, all_keys - keys)))


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """Queries and keys that a flash kernel takes for one text.

    Attributes:
        queries, keys: int64 [query], [key]: `row * length + position` of each in the batch, of the queries' and the
            keys' own length.
    """

    queries: IntArray
    keys: IntArray


def flash_cells(sequences: Iterable[Sequence], causal: bool, window: tuple[int, int], shape: Shape) -> BoolArray:
    """bool [batch, 1, query, key] of a flash attention kernel, True = may attend.

    Of a sequence of Q queries and K keys, query i stands at key i + K - Q: the last query at the last key. It sees
    keys from `left` before to `right` behind that place, both included; -1 sets no limit, and `causal` no key behind.

    Args:
        sequences: What the kernel takes for texts of their own; what is in none of them neither sees nor is seen.
        causal: Whether keys behind a query's place are blocked.
        window: (left, right), in tokens, the query's own place not counted.
        shape: Of the call.
    """
    batch, queries, keys = shape
    cells = np.zeros((batch, 1, queries, keys), np.bool_)
    left, right = window[0], 0 if causal else window[1]
    for one in sequences:
        place = np.arange(len(one.queries)) + len(one.keys) - len(one.queries)
        behind = np.arange(len(one.keys))[None] - place[:, None]  # how far a key lies behind the query's place
        seen = np.ones(behind.shape, np.bool_)
        if left >= 0:
            seen &= behind >= -left
        if right >= 0:
            seen &= behind <= right
        query, key = np.meshgrid(one.queries, one.keys, indexing="ij")
        inside = seen & (query // queries == key // keys)
        cells[query[inside] // queries, 0, query[inside] % queries, key[inside] % keys] = True
    return cells


def block_cells(block_mask: Any, added: torch.Tensor | None, shape: Shape) -> BoolArray:
    """bool [batch, 1 or head, query, key] of flex_attention, True = may attend.

    Args:
        block_mask: A BlockMask, whose function is asked about every cell; None blocks nothing.
        added: A tensor that is added to the scores, of which transformers reads the first head; or None.
        shape: Of the call.
    """
    batch, queries, keys = shape
    cells = added_cells(None if added is None else added[:, :1], shape)
    if block_mask is None:
        return cells
    heads = int(block_mask.shape[1])
    asked = create_mask(block_mask.mask_mod, batch, heads, queries, keys, device=block_mask.kv_indices.device)
    return cells & broadcast_cells(np.asarray(to_array(asked), np.bool_), shape)
