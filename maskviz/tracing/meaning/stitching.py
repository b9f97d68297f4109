"""Calls made part by part, laid out on the axes of the whole text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maskviz.core.arrays import AnyArray
from maskviz.core.words import Stack
from maskviz.tracing.calling import Calling
from maskviz.tracing.listen.recorder import Captured


def stitched(
    calls: Sequence[Captured], stacks: Sequence[Stack], calling: Calling
) -> tuple[list[Captured], list[Stack]]:
    """Join what each attention did in the shown parts: queries below each other, keys from the first token on.

    A key that a part's cache no longer held, or not yet, is blocked for its queries: so is a token outside a sliding
    window, or in the future.

    Args:
        calls: Every call of every part, in order; `Captured.part` says which.
        stacks: The stack of each call.
        calling: The parts.
    """
    if not calling.parts:
        return list(calls), list(stacks)
    groups: dict[tuple[str, int], list[tuple[Captured, Stack]]] = {}
    for call, stack in zip(calls, stacks, strict=True):
        if call.part >= calling.shown or stack is Stack.ENCODER:
            groups.setdefault((call.module, call.turn), []).append((call, stack))
    joined = [(_joined([call for call, _ in group], group[0][1], calling), group[0][1]) for group in groups.values()]
    return [call for call, _ in joined], [stack for _, stack in joined]


def _joined(calls: list[Captured], stack: Stack, calling: Calling) -> Captured:
    if stack is Stack.ENCODER:
        return calls[-1]
    visible = [_on_all_keys(call.visible, call, stack, calling) for call in calls]
    heads = max(one.shape[1] for one in visible)
    visible = [np.broadcast_to(one, (one.shape[0], heads, *one.shape[2:])) for one in visible]
    patterns = [
        _on_all_keys(call.pattern, call, stack, calling) if call.pattern is not None else None for call in calls
    ]
    known = [pattern for pattern in patterns if pattern is not None]
    return replace(
        calls[-1],
        visible=np.concatenate(visible, axis=2),
        pattern=np.concatenate(known, axis=2) if len(known) == len(patterns) else None,
        query_offset=calling.offset,
    )


def _on_all_keys(cells: AnyArray, call: Captured, stack: Stack, calling: Calling) -> AnyArray:
    """Cells [batch, head, query, key] of one part on the keys of the whole text, 0 where it had none."""
    if stack is Stack.CROSS:
        return cells
    total, end, keys = calling.ends[-1], calling.ends[call.part], cells.shape[3]
    start = max(0, end - keys)  # a static cache has room for more keys than there are yet
    laid_out = np.zeros((*cells.shape[:3], total), dtype=cells.dtype)
    stop = min(total, start + keys)
    laid_out[..., start:stop] = cells[..., : stop - start]
    return laid_out
