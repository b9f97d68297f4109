"""Masks of FlexAttention: a function of positions (mask_mod) and the blocks made of it (BlockMask)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, create_mask

from maskviz.core.arrays import BoolArray

# (batch, head, query, key) as int tensors without axes; a bool tensor without axes, True = may attend.
MaskMod = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def mask_mod(visible: BoolArray) -> MaskMod:
    """The function that looks a mask's cells up.

    Args:
        visible: bool [batch or 1, head or 1, query or 1, key], True = may attend; an axis of 1 stands for all.
    """
    cells = torch.from_numpy(np.array(visible))
    rows, heads, queries, _ = cells.shape

    def looked_up(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return cells[batch % rows, head % heads, query % queries, key]

    return looked_up


def block_mask(visible: BoolArray, queries: int | None = None, block: int = 128) -> BlockMask:
    """The blocks of a mask on the CPU, of as many rows and heads as it tells apart.

    Args:
        visible: As in `mask_mod`.
        queries: How many ask, where its query axis is 1.
        block: Queries and keys along a block.
    """
    rows, heads, own, keys = visible.shape
    return create_block_mask(mask_mod(visible), rows, heads, queries or own, keys, device="cpu", BLOCK_SIZE=block)


def cells_of(function: MaskMod, shape: tuple[int, int, int, int]) -> BoolArray:
    """visible bool [batch, head, query, key] of a mask_mod, asked for every cell.

    Args:
        function: The mask_mod.
        shape: Rows, heads, queries and keys to ask it for.
    """
    cells: BoolArray = create_mask(function, *shape, device="cpu").numpy()
    return cells
