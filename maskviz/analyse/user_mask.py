"""What a mask of the user's own did: to the cells it blocks, and to the model's own rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, Content
from maskviz.core.rules.algebra import AllOf, Everything, Rule, all_of
from maskviz.core.rules.kinds import Causal, Padding, UserMask
from maskviz.core.run.trace import AttentionCall, Mask, Trace
from maskviz.core.words import Stack

# Layers that are listed one by one in a note.
_LISTED = 4


def with_user_mask(trace: Trace, plain: Trace, visible: BoolArray) -> Trace:
    """Name the user's mask in the rules of a run, and note what it failed to block and which rules it replaced.

    Args:
        trace: The run with the mask.
        plain: The run without it, through the same calls.
        visible: bool [batch or 1, head or 1, query or 1, key], True = what the mask means to leave visible.
    """
    visible = visible[:, :1] if (visible == visible[:, :1]).all() else visible
    rule = UserMask(Content(visible, np.bool_))
    masks: dict[tuple[int, int], Mask] = {}
    calls = []
    for call, before in zip(trace.calls, plain.calls, strict=True):
        if call.stack is Stack.DECODER and trace.batch.decoder is not None:
            calls.append(call)  # the mask is of the encoder's tokens
            continue
        key = (id(call.mask), id(before.mask))
        if key not in masks:
            made = _explained(call.mask, before.mask, rule)
            alike = (one for (own, _), one in masks.items() if own == key[0] and one.rule == made.rule)
            masks[key] = next(alike, made)
        calls.append(replace(call, mask=masks[key]))
    named = replace(trace, calls=tuple(calls))
    notes = (*_not_blocked(named, rule), *_replaced(named, plain), *_blind(named))
    return replace(named, notes=(*trace.notes, *notes))


def _explained(mask: Mask, before: Mask, rule: UserMask) -> Mask:
    """The mask with the first rule that explains every cell; the rule found before where none does."""
    for candidate in _candidates(rule, before.rule):
        if candidate.readable and _shows(candidate, mask):
            return Mask.explained(
                mask.visible, candidate, bias=mask.bias, query_offset=mask.query_offset, delivery=mask.delivery
            )
    return mask


def _candidates(rule: UserMask, own: Rule) -> Iterator[Rule]:
    without_padding = all_of(*(part for part in parts_of(own) if not isinstance(part, Padding)))
    yield rule
    yield all_of(without_padding, rule)
    yield all_of(Causal(), rule)
    yield all_of(own, rule)


def parts_of(rule: Rule) -> tuple[Rule, ...]:
    """The conditions of a conjunction; the rule itself where it is none."""
    return rule.parts if isinstance(rule, AllOf) else (rule,)


def _shows(rule: Rule, mask: Mask) -> bool:
    found = rule.visible(mask.grid)
    return found.shape[1] in (1, mask.visible.shape[1]) and bool((found == mask.visible).all())


def _not_blocked(trace: Trace, rule: UserMask) -> tuple[str, ...]:
    """Cells the mask means to block and the model lets a query see."""
    seen = 0
    for call in trace.calls:
        if call.mask.visible.shape[3] == rule.cells.array.shape[3]:
            seen = max(seen, _count(call.mask.visible & ~rule.visible(call.mask.grid), trace, call))
    if not seen:
        return ()
    return (
        f"{seen} cells that the mask means to block are visible: it is added to the scores, where True or 1 blocks "
        "nothing; as a float mask 0 lets a query attend and -inf blocks",
    )


def _replaced(trace: Trace, plain: Trace) -> tuple[str, ...]:
    """Rules of the model's own that block cells without the mask which are visible with it."""
    found: dict[str, list[tuple[AttentionCall, int]]] = {}
    for call, before in zip(trace.calls, plain.calls, strict=True):
        opened = call.mask.visible & ~before.mask.visible
        for part in parts_of(before.mask.rule):
            if isinstance(part, Everything) or not part.readable:
                continue
            cells = _count(opened & ~part.visible(before.mask.grid), trace, call)
            if cells:
                found.setdefault(str(part), []).append((call, cells))
    said = [
        f"{name} in {_layers(trace, [call for call, _ in where])} ({max(cells for _, cells in where)} cells)"
        for name, where in found.items()
    ]
    return (f"the mask replaces rules of the model's own, which no longer hold: {'; '.join(said)}",) if said else ()


def _blind(trace: Trace) -> tuple[str, ...]:
    """Queries that are no padding and may attend to nothing."""
    blind = max(int((~call.mask.visible.any(axis=(1, 3)) & trace.real_queries(call)).sum()) for call in trace.calls)
    if not blind:
        return ()
    return (
        f"queries that may attend to nothing: {blind}; by implementation such a query gets zeros, an even spread or "
        "NaN, never attention",
    )


def _count(cells: AnyArray, trace: Trace, call: AttentionCall) -> int:
    """Cells [batch, head, query, key] that are True in some head, of queries that are no padding."""
    real = trace.real_queries(call)
    return int((cells.any(axis=1) & real[..., None]).sum())


def _layers(trace: Trace, calls: list[AttentionCall]) -> str:
    stack = calls[0].stack
    if len({id(call) for call in calls}) == len(trace.of_stack(stack)):
        return "every layer"
    numbers = [str(call.layer) for call in calls]
    listed = ", ".join(numbers[:_LISTED]) + (f" and {len(numbers) - _LISTED} more" if len(numbers) > _LISTED else "")
    return f"layer{'s' if len(numbers) > 1 else ''} {listed}"
