"""Functions that torch.jit has scripted, as they were written."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from maskviz.tracing.seam.replacing import Canary

# Where a scripted function keeps the one it was made of, for dynamo.
_WRITTEN = "_torchdynamo_inline"


def as_written(value: object) -> Callable[..., Any] | None:
    """The Python function that torch.jit made a script of; None where it is no script, or keeps none."""
    found = getattr(value, _WRITTEN, None) if isinstance(value, torch.jit.ScriptFunction) else None
    return found if callable(found) else None


def _sings() -> bool:
    def same(x: torch.Tensor) -> torch.Tensor:
        return x

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is on its way out
        return as_written(torch.jit.script(same)) is same


CANARIES = (Canary("functions scripted by torch.jit, as they were written", "torch", _sings),)
