"""The only crossing from torch tensors to numpy arrays."""

from __future__ import annotations

from typing import Any

import torch

from maskviz.core.arrays import BoolArray, FloatArray


def to_array(tensor: torch.Tensor) -> Any:
    """Return a tensor as an array on the CPU, 16-bit floats widened to float32."""
    tensor = tensor.detach()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return tensor.cpu().numpy()


def to_floats(tensor: torch.Tensor) -> FloatArray:
    """Return a tensor as a float32 array of its own memory: the tensor may change or go afterwards."""
    array: FloatArray = tensor.detach().to("cpu", torch.float32, copy=True).numpy()
    return array


# Code blocks with the type's minimum, -1e30 (XLNet), -1e9 or TensorFlow's old -1e4, and adds scores to it. At this
# value below its row's best a key's weight is zero in every float type: nothing that takes part is taken for blocked.
_BLOCKED = -9e3


def visible_cells(scores: torch.Tensor) -> BoolArray:
    """Return which cells of an additive mask, or of masked scores, may be attended to.

    Args:
        scores: float [..., key]: 0 or a bias where visible, a very negative number where blocked. A boolean
            tensor is taken as True = visible.

    Returns:
        bool array of the same shape, True = visible; a cell is blocked at or below -9000.
    """
    visible: BoolArray = to_array(scores if scores.dtype is torch.bool else scores > _BLOCKED)
    return visible
