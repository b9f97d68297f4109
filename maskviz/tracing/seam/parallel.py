"""Over how many processes transformers has dealt out a model."""

from __future__ import annotations

import torch

from maskviz.tracing.seam.canary import Canary


def processes_of(model: torch.nn.Module | type[torch.nn.Module]) -> int:
    """Over how many processes the heads of a model are dealt out; 1 where it is whole."""
    return getattr(model, "_tp_size", None) or 1


def _is_said() -> bool:
    from transformers import LlamaForCausalLM

    return hasattr(LlamaForCausalLM, "_tp_size") and processes_of(LlamaForCausalLM) == 1


CANARIES = (Canary("over how many processes a model is dealt out", "transformers", _is_said),)
