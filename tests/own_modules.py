"""Modules of somebody's own, run and listened to, for tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from maskviz.api.runs.own import Own, own_ran, own_ready
from maskviz.api.watcher import NOBODY
from maskviz.core.arrays import AnyArray, BoolArray
from maskviz.core.run.heads import HeadMask
from maskviz.tracing.modules.axes import Said
from maskviz.tracing.modules.run import ModuleRun, gated_output_of
from maskviz.tracing.run import head_shapes

# How far float32 attention may be from the same attention made in another order.
NEAR = 2e-6


class Calls(torch.nn.Module):
    """A function as a module, with heads it may say it has."""

    def __init__(self, function: Any, heads: int | None = None) -> None:
        super().__init__()
        self.function = function
        if heads is not None:
            self.num_heads = heads

    def forward(self, *positional: Any) -> Any:
        return self.function(*positional)


def ran(module: torch.nn.Module, inputs: Any, *, rows: int | None = None, heads: int | None = None) -> ModuleRun:
    """Run a module and listen to it, as `maskviz.trace` does."""
    return own_ran(NOBODY, own_ready(Own(module, inputs, said=Said(rows, heads))))


def patterns(run: ModuleRun) -> list[AnyArray]:
    """Attention [batch, head, query, key] of each call, in order."""
    found = []
    for call in run.trace.calls:
        assert call.pattern is not None
        found.append(call.pattern)
    return found


def visible(run: ModuleRun, call: int = 0) -> BoolArray:
    """What a call may see, bool [batch, head or 1, query, key]."""
    return run.trace.calls[call].mask.visible


def silenced(run: ModuleRun, call: int, head: int) -> torch.Tensor:
    """What a module puts out with one head of one call silenced."""
    where = run.trace.calls[call]
    gates = {stack: np.ones(shape, np.float32) for stack, shape in head_shapes(run.trace).items()}
    gates[where.stack.value][where.layer, head] = 0
    output = gated_output_of(run, HeadMask(gates))
    assert output is not None
    return output


def apart(one: Any, other: Any) -> float:
    """Largest difference of two arrays; what is no number in both is none."""
    first, second = (np.asarray(value.detach() if isinstance(value, torch.Tensor) else value) for value in (one, other))
    assert first.shape == second.shape, f"{first.shape} is not {second.shape}"
    neither = np.isnan(first) & np.isnan(second)
    return float(np.where(neither, 0, np.abs(first - second)).max(initial=0.0))
