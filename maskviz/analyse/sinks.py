"""Attention without what is parked on sinks."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from maskviz.core.arrays import BoolArray
from maskviz.core.rules.algebra import Opaque
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import AttentionCall, Mask, Trace
from maskviz.core.words import Role
from maskviz.core.writing import plural


def without_sinks(trace: Trace) -> tuple[Trace, str]:
    """Block the first real token and all special tokens as keys, and let what is left of each row sum to 1 again.

    These are where heads park attention they have no use for (the first token: Xiao et al. 2023; special tokens: Clark
    et al. 2019). A row with nothing left sees no key: it is blocked whole, never zeros.

    Returns:
        The run, and what was done in words.
    """
    calls = tuple(_without(trace, call) for call in trace.calls)
    empty = sum(_emptied(trace, before, after) for before, after in zip(trace.calls, calls, strict=True))
    left = f" {plural(empty, 'row')} had nothing left and are blocked whole." if empty else ""
    said = f"Without sinks: the first token and special tokens are no keys here, and rows sum to 1 again.{left}"
    return replace(trace, calls=calls), said


def sink_keys(trace: Trace, call: AttentionCall) -> BoolArray:
    """bool [batch, key], the first real token and all special tokens; of keys that are no tokens the first."""
    side = trace.sides(call)[1]
    keys = call.mask.visible.shape[3]
    found = np.zeros((side.rows, keys), np.bool_)
    if keys < side.length:
        found[:, 0] = True
        return found
    found[:, : side.length] = [[role is Role.SPECIAL for role in row] for row in side.roles]
    found[np.arange(side.rows), side.keep.argmax(axis=1)] = True
    return found


def _without(trace: Trace, call: AttentionCall) -> AttentionCall:
    if call.pattern is None:
        return call
    sinks = sink_keys(trace, call)[:, None, None]
    weights = np.where(sinks, 0.0, call.pattern)
    total = weights.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        pattern = np.where(total == 0, 0.0, weights / total)
    nothing = total == 0 if (total == 0).any() else np.zeros((1, 1, 1, 1), np.bool_)
    visible = call.mask.visible & ~sinks & ~nothing
    reasons = np.where(visible, 0, np.where(call.mask.visible, Reason.OTHER, np.maximum(call.mask.reasons, 1)))
    mask = Mask(visible, reasons.astype(np.uint8), Opaque("without sinks"), None, call.mask.query_offset)
    return replace(call, mask=mask, pattern=pattern)


def _emptied(trace: Trace, before: AttentionCall, after: AttentionCall) -> int:
    """Rows of real queries, one for each head, that saw keys before and see none now."""
    if before.pattern is None:
        return 0
    shape = (*before.pattern.shape[:3],)
    had, has = (np.broadcast_to(call.mask.visible.any(axis=-1), shape) for call in (before, after))
    return int((had & ~has & trace.real_queries(before)[:, None]).sum())
