"""What was captured joined with the rule that was read, on the axes of the whole text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from maskviz.core.arrays import AnyArray, BoolArray, IntArray
from maskviz.core.rules.algebra import Grid, Opaque, Rule, all_of
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.recognise import recognise
from maskviz.core.run.trace import Delivery, Mask
from maskviz.core.words import Stack
from maskviz.tracing.calling import Calling
from maskviz.tracing.listen.recorder import Captured, Heard


class Earlier:
    """The earlier places of every token of one row, looked up block by block.

    A query's induction score is the share of its attention on keys whose previous token is the query's own, earlier in
    the text (Olsson et al. 2022, "prefix matching").
    """

    def __init__(self, ids: IntArray, keep: BoolArray, device: torch.device) -> None:
        """Sort one row of ids [token]; padding stands nowhere."""
        alone = np.where(keep, ids, -1 - np.arange(len(ids)))  # padding is like nothing else
        order = np.argsort(alone, kind="stable")
        begins = np.flatnonzero(np.diff(alone[order], prepend=alone[order[:1]] - 1))
        first = np.repeat(begins, np.diff(np.append(begins, len(order))))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        start = np.empty(len(order), np.int64)
        start[order] = first
        self._order = torch.as_tensor(order, device=device)
        self._start = torch.as_tensor(start, device=device)  # [token], where its equals begin in the order
        self._count = torch.as_tensor(rank - start, device=device)  # [token], how many of them come before it

    def mass(self, weights: torch.Tensor, first_query: int, first_key: int) -> torch.Tensor:
        """The induction score [head, query] of weights [head, query, key] whose axes begin at these tokens."""
        heads, queries, keys = weights.shape
        rows = slice(first_query, first_query + queries)
        count = self._count[rows]
        query = torch.repeat_interleave(torch.arange(queries, device=weights.device), count)
        behind = torch.arange(len(query), device=weights.device) - (count.cumsum(0) - count)[query]
        key = self._order[self._start[rows][query] + behind] + 1 - first_key
        inside = (key >= 0) & (key < keys)
        query, key = query[inside], key[inside]
        found = weights.reshape(heads, -1)[:, query * keys + key]
        return torch.zeros(heads, queries, dtype=weights.dtype, device=weights.device).index_add_(1, query, found)


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


def masks_of(calls: Sequence[Captured], heard: Sequence[Heard], keeps: Sequence[BoolArray | None]) -> list[Mask]:
    """Return the mask of each call; calls that received the same one share the object.

    Args:
        calls: The calls, in order.
        heard: The masks transformers built in the same run, in order.
        keeps: For each call bool [batch, key], False = padding, or None where the keys are no tokens.
    """
    made: list[tuple[Captured, Mask]] = []
    for call, keep in zip(calls, keeps, strict=True):
        same = next((mask for other, mask in made if _same(call, other)), None)
        made.append((call, same or _mask_of(call, heard, keep)))
    return [mask for _, mask in made]


def _same(one: Captured, other: Captured) -> bool:
    if one.bias is not other.bias or one.source is not other.source or one.query_offset != other.query_offset:
        return False
    return one.visible is other.visible or np.array_equal(one.visible, other.visible)


def _mask_of(call: Captured, heard: Sequence[Heard], keep: BoolArray | None) -> Mask:
    meaningful = None
    if call.delivery is Delivery.WEIGHTS and keep is not None and keep.shape[1] == call.visible.shape[2]:
        meaningful = keep  # the weights of a padding query lie anywhere: its cells are what the rule makes of them
    rule, offset, otherwise = _rule_of(call, heard, keep, meaningful)
    visible = call.visible
    if meaningful is not None and rule.readable:
        batch, _, queries, keys = visible.shape
        at = Grid.of(batch, queries, keys, offset)
        visible = np.where(meaningful[:, None, :, None], visible, np.broadcast_to(rule.visible(at), at.shape))
    return Mask.explained(
        visible, rule, bias=call.bias, query_offset=offset, delivery=call.delivery, otherwise=otherwise
    )


def _rule_of(
    call: Captured, heard: Sequence[Heard], keep: BoolArray | None, meaningful: BoolArray | None
) -> tuple[Rule, int, Reason]:
    """The rule a mask was built from where it came straight from transformers; else one that explains every cell;
    else one that explains a part of it, with the reason for the rest."""
    for one in heard:
        if one.tensor is call.source:
            return _checked(one, call, keep), _offset(call, one), Reason.OTHER
    explaining = [one for one in heard if _explains(one, call)]
    if explaining:  # on a short text a window blocks nothing, and nothing is what it explains
        simplest = min(explaining, key=lambda one: len(one.rule.leaves()))
        return simplest.rule, _offset(call, simplest), Reason.OTHER
    offset = call.query_offset
    if offset is None:
        offset = max(0, call.visible.shape[3] - call.visible.shape[2]) if _ends_together(call.visible) else 0
    rule = recognise(call.visible, keep, offset, meaningful)
    if not isinstance(rule, Opaque):
        return rule, offset, Reason.OTHER
    for one in heard:
        if _explains(one, call, more=True):
            return all_of(one.rule, Opaque(f"{call.module}: its own choice")), _offset(call, one), Reason.SPARSE
    return Opaque(f"{call.module}: unrecognised"), offset, Reason.OTHER


def _checked(heard: Heard, call: Captured, keep: BoolArray | None) -> Rule:
    """The rule a mask was built from, if it says of every cell what the mask does; else one that does, or an opaque one
    that keeps what was claimed."""
    rule, offset = heard.rule, _offset(call, heard)
    batch, _, queries, keys = call.visible.shape
    at = Grid.of(batch, queries, keys, offset)
    if rule.readable and bool((np.broadcast_to(rule.visible(at), at.shape) == call.visible).all()):
        return rule
    found = recognise(call.visible, keep, offset)
    if rule.readable:
        return Opaque("transformers' mask function", claimed=str(rule)) if isinstance(found, Opaque) else found
    return rule if isinstance(found, Opaque) else found


def _offset(call: Captured, heard: Heard) -> int:
    return heard.query_offset if call.query_offset is None else call.query_offset


def _explains(heard: Heard, call: Captured, *, more: bool = False) -> bool:
    """Whether a heard rule lets through just what the call may see, or that and `more`."""
    batch, _, queries, keys = call.visible.shape
    offset = heard.query_offset
    if call.query_offset is not None:
        offset = call.query_offset
    elif heard.tensor.shape[-1] != keys or heard.tensor.shape[-2] not in (1, queries):
        return False
    if not heard.rule.readable:
        return False
    at = Grid.of(batch, queries, keys, offset)
    ruled = np.broadcast_to(heard.rule.visible(at), at.shape)
    return not (call.visible & ~ruled).any() if more else bool((ruled == call.visible).all())


def _ends_together(visible: BoolArray) -> bool:
    """Whether of several queries the last alone sees the last key, as when earlier keys come from a cache."""
    if visible.shape[2] < 2:
        return False
    last: BoolArray = np.any(visible[..., -1], axis=(0, 1))
    return bool(last[-1] and not last[:-1].any())
