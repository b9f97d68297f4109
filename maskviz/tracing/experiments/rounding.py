"""What computing in 16 bits moves a model's outputs by: the same weights are run in float32 beside."""

from __future__ import annotations

from contextlib import ExitStack
from copy import deepcopy
from typing import Any

import torch
from transformers import PreTrainedModel

from maskviz.core.errors import CannotTraceError
from maskviz.core.machine import free_bytes
from maskviz.core.run.trace import Batch, ModelCard
from maskviz.tracing.calling import Calling, Inputs, called, explained, same_randomness
from maskviz.tracing.outputs import joined_output, largest_difference
from maskviz.tracing.seam.caches import mapped
from maskviz.tracing.seam.implementation import evaluating

SHORT = (torch.bfloat16, torch.float16)
# A copy in float32 may take this share of the memory that is free, and a model of more numbers is not copied at all.
_SHARE, MOST_COPIED = 0.5, 2**30


def rounding_of(
    model: PreTrainedModel, inputs: Inputs, batch: Batch, card: ModelCard, calling: Calling, plain: torch.Tensor | None
) -> float | None:
    """How far the outputs of a plain run in 16 bits are from those of the same weights in float32, on real tokens.

    Two correct ways to compute in 16 bits each round so, and may be twice as far from each other.

    Args:
        model, inputs, batch, card, calling: As given to `run`; the model is copied.
        plain: Its main output, as it runs by itself.

    Returns:
        None where it computes in more bits anyway, is too large to be copied, or does not run in float32.
    """
    if plain is None or model.dtype not in SHORT or not _fits(model):
        return None
    with ExitStack() as block:
        try:
            wide = deepcopy(model).float()
        except (RuntimeError, NotImplementedError, TypeError, ValueError):  # quantized weights are no other type's
            return None
        block.enter_context(torch.no_grad())
        block.enter_context(evaluating(wide))
        block.enter_context(same_randomness())
        try:
            with explained(card, "does not run in float32"):
                output = joined_output(called(wide, widened(inputs), calling))
        except CannotTraceError:
            return None
    return largest_difference(plain, output, batch.decoder or batch)


def widened(inputs: Inputs) -> dict[str, Any]:
    """The inputs with every float tensor in them in float32, those of a cache too."""
    return {name: mapped(value, _wide) for name, value in inputs.items()}


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor.clone()


def _fits(model: PreTrainedModel) -> bool:
    count = model.num_parameters()
    if model.device.type == "cuda":
        free: int | None = torch.cuda.mem_get_info(model.device)[0]
    else:
        free = free_bytes()
    return count <= MOST_COPIED and (free is None or count * 4 <= free * _SHARE)
