"""Random numbers that come out the same for every run: hashing and random-block attention draw them at each call."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, slots=True, eq=False)
class RandomState:
    """Where the generators of torch (on the CPU), numpy and Python are."""

    of_torch: torch.Tensor = field(default_factory=torch.get_rng_state)
    of_numpy: Any = field(default_factory=np.random.get_state)
    of_python: Any = field(default_factory=random.getstate)

    def restore(self) -> None:
        """Put the generators back there."""
        torch.set_rng_state(self.of_torch)
        np.random.set_state(self.of_numpy)
        random.setstate(self.of_python)


@contextmanager
def same_randomness(start: RandomState | None = None) -> Iterator[None]:
    """Put the generators back afterwards to where they were, so that a second run draws the same numbers.

    Args:
        start: Where they start in the block; None leaves them where they are.
    """
    before = RandomState()
    if start is not None:
        start.restore()
    try:
        yield
    finally:
        before.restore()
