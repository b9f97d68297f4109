"""What was captured, joined with the rule that explains it: a Mask."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from maskviz.core.algebra import Grid, Opaque, Rule
from maskviz.core.arrays import BoolArray
from maskviz.core.masks import Mask
from maskviz.core.recognise import recognise
from maskviz.trace.recorder import Captured, Heard


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
    if one.bias is not other.bias or one.source is not other.source:
        return False
    return one.visible is other.visible or (one.source is None and np.array_equal(one.visible, other.visible))


def _mask_of(call: Captured, heard: Sequence[Heard], keep: BoolArray | None) -> Mask:
    rule, offset = _rule_of(call, heard, keep)
    return Mask.explained(call.visible, rule, bias=call.bias, query_offset=offset, delivery=call.delivery)


def _rule_of(call: Captured, heard: Sequence[Heard], keep: BoolArray | None) -> tuple[Rule, int]:
    """The rule the mask was built from where it came straight from transformers; else one that explains every cell."""
    for one in heard:
        if one.tensor is call.source:
            return one.rule, one.query_offset
    explaining = [one for one in heard if _explains(one, call.visible)]
    if explaining:  # on a short text a window blocks nothing, and nothing is what it explains
        simplest = min(explaining, key=lambda one: len(one.rule.leaves()))
        return simplest.rule, simplest.query_offset
    offset = max(0, call.visible.shape[3] - call.visible.shape[2]) if _ends_together(call.visible) else 0
    rule = recognise(call.visible, keep, offset)
    if isinstance(rule, Opaque) and call.source is None:
        return Opaque(f"{call.module}: unrecognised"), offset
    return rule, offset


def _explains(heard: Heard, visible: BoolArray) -> bool:
    batch, _, queries, keys = visible.shape
    if heard.tensor.shape[-1] != keys or heard.tensor.shape[-2] not in (1, queries) or not heard.rule.readable:
        return False
    at = Grid.of(batch, queries, keys, heard.query_offset)
    return bool((np.broadcast_to(heard.rule.visible(at), at.shape) == visible).all())


def _ends_together(visible: BoolArray) -> bool:
    """Whether of several queries the last alone sees the last key, as when earlier keys come from a cache."""
    if visible.shape[2] < 2:
        return False
    last: BoolArray = np.any(visible[..., -1], axis=(0, 1))
    return bool(last[-1] and not last[:-1].any())
