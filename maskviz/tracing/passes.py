"""How many forward passes a question takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(slots=True)
class Passes:
    """Forward passes that were begun."""

    count: int = 0


@contextmanager
def counted_passes(model: torch.nn.Module) -> Iterator[Passes]:
    """Count the forward passes of a model, and of copies made of it meanwhile, in the block."""
    passes = Passes()

    def begun(*_: Any) -> None:
        passes.count += 1

    handle = model.register_forward_pre_hook(begun)
    try:
        yield passes
    finally:
        handle.remove()
