"""What was captured, joined with the rule that explains it: a Mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskviz.core.arrays import BoolArray
from maskviz.core.rules.algebra import Grid, Opaque, Rule, all_of
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.recognise import recognise
from maskviz.core.run.masks import Delivery, Mask
from maskviz.tracing.listen.recorder import Captured, Heard


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
