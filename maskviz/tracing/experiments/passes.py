"""How many forward passes a question takes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch


@dataclass(slots=True)
class Passes:
    """Forward passes that were begun."""

    count: int = 0

    def begun(self, *_: Any) -> None:
        """One more, as a hook before a forward."""
        self.count += 1


_COUNTED: WeakKeyDictionary[torch.nn.Module, Passes] = WeakKeyDictionary()


@contextmanager
def counted_passes(model: torch.nn.Module) -> Iterator[Passes]:
    """Count the forward passes of a model, and of copies made of it meanwhile, in the block."""
    _COUNTED[model] = passes = Passes()
    handle = model.register_forward_pre_hook(passes.begun)
    try:
        yield passes
    finally:
        handle.remove()
        del _COUNTED[model]


def counted_as(model: torch.nn.Module, other: torch.nn.Module) -> None:
    """Count the passes of another model, built in place of one, among those of that one, if they are counted."""
    if model in _COUNTED:
        other.register_forward_pre_hook(_COUNTED[model].begun)
