"""FlexAttention run as it is written, without a compiler, and its functions asked about every cell."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.attention import flex_attention as _flex

from maskviz.tracing.seam.replacing import Canary

# What flex_attention calls in the end, whatever name it was imported by; None where it has moved.
FLEX: Any = getattr(_flex, "flex_attention_hop", None)
# While it is set, flex_attention calls FLEX itself and hands nothing to a compiler; torch 2.6 does so by itself where
# nothing is compiled.
_DIRECTLY = "_FLEX_ATTENTION_DISABLE_COMPILE_DEBUG"


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run what was compiled as it is written, FlexAttention too, while the block runs."""
    before = getattr(_flex, _DIRECTLY, None)
    try:
        if before is not None:
            setattr(_flex, _DIRECTLY, True)
        with torch.compiler.set_stance("force_eager"):
            yield
    finally:
        if before is not None:
            setattr(_flex, _DIRECTLY, before)


def flex_scores(modification: Callable[..., torch.Tensor], scores: torch.Tensor) -> torch.Tensor:
    """Scores [batch, head, query, key] as a `score_mod` changes each."""
    return _every_cell(modification, scores.shape, scores.device, scores)


def flex_mask(block_mask: Any, scores: torch.Tensor) -> torch.Tensor:
    """bool [batch, head, query, key], True = visible, of a block mask as FLEX is handed it: its `mask_mod` is last."""
    return _every_cell(block_mask[-1], scores.shape, scores.device)


def _every_cell(
    function: Callable[..., torch.Tensor], shape: torch.Size, device: torch.device, *before: torch.Tensor
) -> torch.Tensor:
    """What a function of (batch, head, query, key), and of a number `before`, says of every cell."""
    mapped = function
    for axis in (3, 2, 1, 0):  # the innermost map is over keys; an outer one takes the first axis of what is left
        places: list[int | None] = [None] * 4
        places[axis] = 0
        mapped = torch.vmap(mapped, in_dims=(*(0 for _ in before), *places))
    numbers = [torch.arange(size, device=device) for size in shape]
    found: torch.Tensor = mapped(*before, *numbers)
    return found.expand(shape)


CANARIES = (Canary("what flex_attention calls in the end", "torch", lambda: FLEX is not None),)
