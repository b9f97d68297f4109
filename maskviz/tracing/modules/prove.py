"""Masks of a module proven by gradients: what a query puts out has one with respect to the values it attends to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from maskviz.core.arrays import BoolArray
from maskviz.core.errors import UsageError
from maskviz.core.results.results import CallProof, FutureProof, Proof
from maskviz.core.run.trace import AttentionCall
from maskviz.core.writing import parameter
from maskviz.tracing.calling import to_array
from maskviz.tracing.experiments.prove import MOST_TOKENS, compared
from maskviz.tracing.modules.ear import OF_MHA, OF_SDPA, Ear
from maskviz.tracing.modules.experiments import moved_by_later
from maskviz.tracing.modules.heard import Hearing
from maskviz.tracing.modules.run import ModuleRun
from maskviz.tracing.modules.subjects import TorchSubject

# Share of the outputs' size below which a difference is rounding.
_ROUNDING = 1e-5


def prove_module(ran: ModuleRun) -> Proof:
    """Compare what the attention of a module may see with what it does see.

    Where a softmax is written by hand, what is multiplied with the values is the gradient. A module whose masks all
    look back is asked, too, whether changing the last position moves what comes before it.

    Raises:
        UsageError: it is no torch module, or its input is too long.
    """
    subject = ran.subject
    if not isinstance(subject, TorchSubject):
        raise UsageError(f"{parameter('prove')} follows gradients of torch", f"leave out {parameter('prove')}")
    longest = max(side.length for side in (ran.trace.batch, ran.trace.batch.decoder or ran.trace.batch))
    if longest > MOST_TOKENS:
        raise UsageError(
            f"{parameter('prove')} takes up to {MOST_TOKENS} positions, there are {longest}", "give a shorter input"
        )
    hearing = Hearing()
    ear = _GradientEar(hearing)
    subject.heard(hearing, ear)
    calls = []
    for number, (call, heard) in enumerate(zip(ran.trace.calls, hearing.calls, strict=True)):
        own = call.pattern != 0 if heard.how == "softmax" and call.pattern is not None else ear.found.get(number)
        calls.append(_compared(call, own, ran))
    return Proof(tuple(calls), _future(ran))


def _compared(call: AttentionCall, seen: BoolArray | None, ran: ModuleRun) -> CallProof:
    if seen is not None and seen.shape[0] != ran.trace.batch.rows:
        return CallProof(call, None, "it mixes values window by window")
    return compared(call, seen, ran.trace)


def _future(ran: ModuleRun) -> FutureProof | None:
    """Whether changing the last position moves an earlier one; None for a module that is not causal."""
    for call in ran.trace.calls:
        visible = call.mask.visible.any(axis=(0, 1))
        if np.triu(visible, 1 + call.mask.query_offset).any() or visible.shape[0] < 2:
            return None
    moved = moved_by_later(ran)
    return None if moved is None else FutureProof(moved.most, moved.most <= _ROUNDING * max(1.0, moved.size))


class _GradientEar(Ear):
    """Hears, and asks for the gradient where fused attention mixes its values.

    Attributes:
        found: bool [row, head or 1, query, key] by the number of the call, True = the query has one at the key's value.
    """

    def __init__(self, hearing: Hearing) -> None:
        super().__init__(hearing)
        self.found: dict[int, BoolArray] = {}

    def multi_head(
        self, function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        number = self._hearing.number
        given = {**dict(zip(OF_MHA, positional, strict=False)), **arguments}
        with torch.enable_grad():
            value = given["value"].detach().requires_grad_()
            output, _ = function(**{**given, "value": value})
            rows = [_seen(one, value) for one in output]  # of each query, [key, row], of all heads together
        if output.ndim == 3:
            self.found[number] = to_array(torch.stack(rows).permute(2, 0, 1)[:, None])
        return super().multi_head(function, positional, arguments)

    def fused(self, function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
        number = self._hearing.number
        given = {**dict(zip(OF_SDPA, positional, strict=False)), **arguments}
        if given["value"].ndim == 4 and not given["value"].is_nested:
            with torch.enable_grad():
                value = given["value"].detach().requires_grad_()
                output = function(**{**given, "value": value})
                rows = [_seen(one, value) for one in output.unbind(-2)]  # of each query, [row, head, key]
            self.found[number] = to_array(torch.stack(rows, dim=-2))
        return super().fused(function, positional, arguments)


def _seen(output: torch.Tensor, value: torch.Tensor) -> torch.Tensor:
    """bool [... of value but its last axis]: whether some outputs have a gradient there."""
    (gradient,) = torch.autograd.grad(output.sum(), value, retain_graph=True)
    return (gradient != 0).any(dim=-1)
