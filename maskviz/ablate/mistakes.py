"""Somebody's own ablation held against the right one, and against the mistakes that are made with it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.ablate.projections import LAYOUTS, place
from maskviz.core.arrays import AnyArray, DoubleArray
from maskviz.core.checks.case import Ablated
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import Trace
from maskviz.core.writing import parameter
from maskviz.tracing.calling import Calling, Inputs, called, joined_output, same_randomness, to_array
from maskviz.tracing.experiments.changes import ROUNDING
from maskviz.tracing.meaning.hearing import gates_of
from maskviz.tracing.run import gated_output
from maskviz.tracing.seam.implementations import evaluating


def held_against(
    model: PreTrainedModel, inputs: Inputs, trace: Trace, head_mask: HeadMask, given: tuple[str, AnyArray]
) -> Ablated:
    """Compare outputs of an ablation with those of the right one and of the known wrong ones, on real tokens.

    Args:
        model, inputs, trace: The plain run.
        head_mask: The heads that were to be silenced.
        given: The file's name, and the outputs float [batch, token, width] or [token, width] for a single text.

    Raises:
        UsageError: the outputs have another shape.
        CannotTraceError: the model's own outputs have no value for each token.
    """
    name, values = given
    right = _needed(gated_output(model, inputs, trace, head_mask), trace)
    plain = _needed(_plain(model, inputs), trace)
    shape = tuple(right.shape)
    if values.shape not in (shape, shape[1:]) or values.size != right.numel():
        raise UsageError(
            f"the outputs in {name} are {list(values.shape)} and the model's {list(right.shape)}",
            "save what the model returned for this very batch, all tokens of it",
        )
    own: DoubleArray = np.asarray(values, np.float64).reshape(shape)
    real = (trace.batch.decoder or trace.batch).keep
    of_heads = str(head_mask) or "none"

    def distance(output: torch.Tensor | None) -> float | None:
        return None if output is None else float(np.abs(to_array(output).astype(np.float64) - own)[real].max())

    size = max(1.0, float(plain.float().abs().max()))
    in_turn = _in_turn(trace, head_mask)
    return Ablated(
        name,
        of_heads,
        distance(right) or 0.0,
        distance(plain) or 0.0,
        distance(_after_projection(model, inputs, trace, head_mask)),
        None if in_turn is None else distance(gated_output(model, inputs, trace, in_turn)),
        ROUNDING.get(right.dtype, 1e-3) * size,
    )


def _needed(output: torch.Tensor | None, trace: Trace) -> torch.Tensor:
    side = trace.batch.decoder or trace.batch
    if output is None or output.ndim != 3 or output.shape[:2] != side.ids.shape:
        raise CannotTraceError(
            f"{trace.card.architecture} has no output for each token", f"leave out {parameter('outputs')}"
        )
    return output


def _plain(model: PreTrainedModel, inputs: Inputs) -> torch.Tensor | None:
    with torch.no_grad(), evaluating(model), same_randomness():
        return joined_output(called(model, inputs, Calling()))


def _after_projection(model: PreTrainedModel, inputs: Inputs, trace: Trace, head_mask: HeadMask) -> torch.Tensor | None:
    """What comes out where columns of the output projection's result are taken for heads."""
    layout = LAYOUTS.get(trace.card.model_type)
    if layout is None:
        return None
    gates = {place(module, layout.columns): gate for (module, _), gate in gates_of(trace, head_mask).items()}
    with _columns_gated(model, gates):
        return _plain(model, inputs)


@contextmanager
def _columns_gated(model: PreTrainedModel, gates: dict[str, Any]) -> Iterator[None]:
    """Multiply the columns of modules' results by gates [head], as if heads lay there side by side."""

    def hook(gate: Any) -> Any:
        def gated(module: torch.nn.Module, arguments: Any, output: torch.Tensor) -> torch.Tensor:
            del module, arguments
            factors = torch.tensor(gate, dtype=output.dtype, device=output.device)
            return output * factors.repeat_interleave(-(-output.shape[-1] // len(gate)))[: output.shape[-1]]

        return gated

    handles = [model.get_submodule(path).register_forward_hook(hook(gate)) for path, gate in gates.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _in_turn(trace: Trace, head_mask: HeadMask) -> HeadMask | None:
    """The mask of somebody who takes query head h for one of key head h % key heads; None where it is the same one, or
    where not whole groups are silenced."""
    gates = {stack: np.array(table) for stack, table in head_mask.gates.items()}
    moved = False
    for call in trace.calls:
        own, group = head_mask.of(call.stack, call.layer), call.heads // call.key_heads
        if own is None or group == 1 or call.key_heads == 1:
            continue
        by_group = own[: call.heads].reshape(call.key_heads, group)
        if (by_group != by_group[:, :1]).any():
            return None
        wrong = by_group[np.arange(call.heads) % call.key_heads, 0]
        moved |= bool((wrong != own[: call.heads]).any())
        gates[call.stack][call.layer, : call.heads] = wrong
    return HeadMask(gates) if moved else None
