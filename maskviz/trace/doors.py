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


# Constants the field blocks with besides the type's own minimum: XLNet's -1e30, many scripts' -1e9.
_SURELY_BLOCKED = -1e9
# The old TensorFlow constant -1e4 (CTRL, early BERT code), told from a bias only where nothing stronger occurs.
_WEAKLY_BLOCKED = -9e3


def visible_cells(scores: torch.Tensor) -> BoolArray:
    """Return which cells of an additive mask, or of masked scores, may be attended to.

    Args:
        scores: float [..., key]: 0 or a bias where visible, a very negative number where blocked. A boolean
            tensor is taken as True = visible.

    Returns:
        bool array of the same shape, True = visible. A cell is blocked at or below half of the type's minimum or
        -1e9; where no cell is that low, at or below -9e3.
    """
    if scores.dtype is torch.bool:
        given: BoolArray = to_array(scores)
        return given
    limit = max(torch.finfo(scores.dtype).min / 2, _SURELY_BLOCKED)
    blocked = scores <= limit
    if not bool(blocked.any()):
        blocked = scores <= _WEAKLY_BLOCKED
    visible: BoolArray = to_array(~blocked)
    return visible
