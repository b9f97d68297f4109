"""A mask in the dialect of the eager attention we listen with, where the model itself runs another.

torch's scaled_dot_product_attention takes a boolean mask as True = may attend, and gives zeros to a query that may
attend to nothing. Eager attention adds whatever it is handed, True as 1. A model that runs sdpa must see no
difference when it is listened to; one that runs eager must keep what it does, also where that is a mistake.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from transformers import PreTrainedModel

from maskviz.tracing.calling import MaskBehind
from maskviz.tracing.seam.eager import uses_interface
from maskviz.tracing.seam.implementation import configs_of, implementation_of


def added(mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What stands for a boolean mask (True = may attend) where masks are added to scores of a type."""
    return torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill(~mask, torch.finfo(dtype).min)


def for_hand_written(model: PreTrainedModel, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The inputs with a boolean mask made additive, where hand-written attention that runs sdpa is heard as eager."""
    given = inputs.get("attention_mask")
    mask = given.mask if isinstance(given, MaskBehind) else given
    if not isinstance(mask, torch.Tensor) or mask.dtype is not torch.bool or mask.ndim != 4:
        return inputs
    if implementation_of(model.config) != "sdpa" or any(map(uses_interface, model.modules())):
        return inputs
    made = added(mask, model.dtype)
    return {**inputs, "attention_mask": replace(given, mask=made) if isinstance(given, MaskBehind) else made}


class Dialect:
    """How the modules of a model read a mask; made before our own attention is put in place."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._eager = {id(config) for config in configs_of(model) if implementation_of(config) == "eager"}
        # Beside each tensor made from a mask the mask itself, so that its id stays its own.
        self._made: dict[tuple[int, bool], tuple[torch.Tensor, torch.Tensor]] = {}

    def additive(self, module: torch.nn.Module, mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
        """The mask that, added to the scores, does what the module's own attention does with it.

        Args:
            module: The attention module.
            mask: As the model handed it over: bool True = may attend where the module runs no eager attention.
            dtype: Of the scores.

        Returns:
            The same tensor for the same mask, so that calls that share a mask go on sharing it.
        """
        made = self._made.get((id(mask), self._runs_eager(module)))
        if made is not None:
            return made[1]
        read = self.read(module, mask, dtype)
        if mask is not None and read is not None and read is not mask:
            self._made[id(mask), self._runs_eager(module)] = (mask, read)
        return read

    def read(self, module: torch.nn.Module, mask: torch.Tensor | None, dtype: torch.dtype) -> torch.Tensor | None:
        """As `additive`, and not remembered: for masks that are cut anew each time."""
        if mask is None or mask.dtype is not torch.bool:
            return mask
        return mask.to(dtype) if self._runs_eager(module) else added(mask, dtype)

    def emptied(
        self, module: torch.nn.Module, mask: torch.Tensor | None, output: torch.Tensor, weights: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Zero what queries that may attend to nothing got, where sdpa would.

        Args:
            module, mask: As given to `additive`.
            output: [batch, query, head, width], not yet projected.
            weights: [batch, head, query, key].
        """
        if mask is None or mask.ndim != 4 or self._runs_eager(module):
            return output, weights
        seen = mask if mask.dtype is torch.bool else mask != float("-inf")
        blind = ~seen.any(dim=-1)  # [batch or 1, head or 1, query or 1]
        if not bool(blind.any()):
            return output, weights
        if output.ndim == 4:
            output = output.masked_fill(blind.transpose(1, 2)[..., None], 0.0)
        return output, weights.masked_fill(blind[..., None], 0.0)

    def _runs_eager(self, module: torch.nn.Module) -> bool:
        return id(getattr(module, "config", None)) in self._eager
