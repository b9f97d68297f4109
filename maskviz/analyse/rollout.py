"""Attention of a whole layer, and followed through the layers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, DoubleArray
from maskviz.core.errors import UsageError
from maskviz.core.rules.algebra import Opaque
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import AttentionCall, Mask, Trace
from maskviz.core.words import Stack
from maskviz.core.writing import parameter


def head_means(trace: Trace) -> Trace:
    """The run with one head in each layer: the mean of its heads, visible where any of them sees."""
    calls = tuple(
        _single(
            call,
            call.pattern.mean(axis=1, dtype=np.float64),
            np.asarray(call.mask.visible.any(axis=1)),
            "mean of the heads",
        )
        for call in trace.calls
        if call.pattern is not None
    )
    return replace(trace, calls=calls, head_mask=None)


def rolled_out(trace: Trace, stack: str | None = None) -> Trace:
    """The run with one head in each layer: attention rollout from the input up to it (Abnar & Zuidema 2020).

    A layer's matrix is A = 0.5 mean over heads + 0.5 I, its rows set to sum to 1; the rollout of a layer is the product
    A_layer ... A_1 A_0. Cross attention has no rollout of its own and is left out.

    Args:
        trace: The run.
        stack: The only stack, or None for all but cross attention.

    Raises:
        UsageError: cross attention is asked for, or queries and keys are not the same tokens.
    """
    if stack == Stack.CROSS:
        raise UsageError(
            f"{parameter('rollout')} has no meaning for cross attention alone: "
            "its queries and keys are different tokens",
            f"roll out the encoder or the decoder, or draw {parameter('mean')}",
        )
    calls: list[AttentionCall] = []
    for one in trace.stacks:
        if one is not Stack.CROSS and stack in (None, one.value):
            calls += _rolled([call for call in trace.of_stack(one) if call.pattern is not None], trace)
    if not calls:
        raise UsageError("there is no attention to roll out", f"leave out {parameter('rollout')}")
    return replace(trace, calls=tuple(calls), head_mask=None, notes=(*trace.notes, *_notes(trace, stack)))


def _notes(trace: Trace, stack: str | None) -> Iterator[str]:
    if Stack.CROSS in trace.stacks and stack in (None, Stack.DECODER.value):
        yield "cross attention is no part of the rollout: the decoder's shows what reaches it from its own tokens"
    if any(stack in (None, one.stack.value) for one in trace.silent):
        yield "the rollout passes over layers without an attention matrix, as though they mixed no tokens"


def _rolled(calls: list[AttentionCall], trace: Trace) -> Iterator[AttentionCall]:
    weights: DoubleArray | None = None
    reached: BoolArray | None = None
    for call in calls:
        assert call.pattern is not None
        queries, keys = call.pattern.shape[2:]
        if queries != keys or (weights is not None and len(weights[0]) != queries):
            raise UsageError(
                f"layer {call.layer} has {queries} queries and {keys} keys: a rollout needs one length all along",
                f"run the text at once, or draw {parameter('mean')}",
            )
        mean = call.pattern.mean(axis=1, dtype=np.float64)
        mean = np.where(trace.real_queries(call)[..., None], mean, 0.0)  # padding passes nothing on but itself
        step = _with_residual(mean)
        sees = call.mask.visible.any(axis=1) | np.eye(queries, dtype=np.bool_)
        weights = step if weights is None else step @ weights
        reached = sees if reached is None else (sees.astype(np.float32) @ reached.astype(np.float32)) > 0
        yield _single(call, weights, reached, "attention rolled out")


def _with_residual(mean: DoubleArray) -> DoubleArray:
    """0.5 of [batch, query, key] and 0.5 of the identity, which stands for the residual; rows set to sum to 1."""
    step = 0.5 * mean + 0.5 * np.eye(mean.shape[-1])
    return np.asarray(step / step.sum(axis=-1, keepdims=True), dtype=np.float64)


def _single(call: AttentionCall, weights: DoubleArray, visible: AnyArray, name: str) -> AttentionCall:
    """A call with one head: weights and visible are [batch, query, key]."""
    reasons = np.where(visible, 0, Reason.OTHER).astype(np.uint8)[:, None]
    mask = Mask(visible[:, None], reasons, Opaque(name), None, call.mask.query_offset)
    return replace(call, heads=1, key_heads=1, mask=mask, pattern=weights[:, None].astype(np.float32))
