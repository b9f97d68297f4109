"""Two runs of the same tokens, cell by cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from maskviz.analyse.comparison import compare
from maskviz.core.arrays import BoolArray, ByteArray
from maskviz.core.errors import CannotTraceError
from maskviz.core.results.diff import CellIn, MaskDiff, RunDiff
from maskviz.core.results.results import Comparison
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import AttentionCall, Batch, Mask, Outputs, Trace
from maskviz.core.words import Stack
from maskviz.core.writing import parameter, plural, printable, ranges

# Calls of A and calls of B that are held beside each other; those of a side share their mask.
Pair = tuple[tuple[AttentionCall, ...], tuple[AttentionCall, ...]]


def compare_runs(a: Trace, b: Trace, names: tuple[str, str]) -> RunDiff:
    """Compare two runs of the same tokens: their masks, and attention and outputs where both have them.

    Layers are paired by stack and number; where their numbers differ, by the different masks in order. An encoder alone
    is paired with a decoder alone.

    Raises:
        CannotTraceError: the tokens are not the same.
    """
    _check_tokens(a, b)
    differently = (
        "" if read_alike(a, b) else "A and B read the same text by other ids or tokens, so no outputs are compared"
    )
    pairs: list[Pair] = []
    unpaired: list[str] = []
    notes = [differently] if differently else []
    for stacks in _stacks(a, b):
        found, missing, said = _paired(a, b, *stacks)
        pairs += found
        unpaired += missing
        notes += said
    groups: list[list[Pair]] = []
    for pair in pairs:
        _grouped(groups, pair)
    masks = tuple(_compared(a, b, group) for group in groups)
    change, uncompared = _change(a, b)
    return RunDiff(names, masks, (a, b), tuple(unpaired), (*notes, *uncompared), change)


def compare_cells(a: BoolArray, b: BoolArray, names: tuple[str, str]) -> RunDiff:
    """Compare two masks alone, bool [batch or 1, head or 1, query, key] each, True = may attend.

    Raises:
        CannotTraceError: their shapes do not fit each other.
    """
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        shape = ()
    if not shape or a.shape[2:] != shape[2:] or b.shape[2:] != shape[2:]:
        raise CannotTraceError(
            f"the masks are {list(a.shape)} and {list(b.shape)}, which do not fit each other",
            "both have to be [batch or 1, head or 1, query, key] of the same lengths",
        )
    codes = _codes(a, b)
    real = np.ones((codes.shape[0], codes.shape[2]), np.bool_)
    return RunDiff(names, (MaskDiff((), (), None, codes, real, {}, {}),))


def read_alike(a: Trace, b: Trace) -> bool:
    """Whether the ids of two runs are the same and stand for the same tokens, so that outputs mean the same too."""
    sides = [(a.batch, b.batch), (a.batch.decoder, b.batch.decoder)]
    return all(
        one is other
        or (one is not None and other is not None and one.tokens == other.tokens and (one.ids == other.ids).all())
        for one, other in sides
    )


def _codes(a: BoolArray, b: BoolArray) -> ByteArray:
    return (a * np.uint8(CellIn.ONLY_A) + b * np.uint8(CellIn.ONLY_B)).astype(np.uint8)


def _check_tokens(a: Trace, b: Trace) -> None:
    sides = [("", a.batch, b.batch)]
    if a.batch.decoder is not None and b.batch.decoder is not None:
        sides.append(("decoder ", a.batch.decoder, b.batch.decoder))
    for name, one, other in sides:
        _check_side(name, one, other)


def _check_side(name: str, one: Batch, other: Batch) -> None:
    hint = f"compare models of one tokenizer, or give {parameter('ids')}"
    if one.rows != other.rows:
        raise CannotTraceError(f"A has {plural(one.rows, 'text')} and B {other.rows}", "give both the same texts")
    for row in range(one.rows):
        for place, (first, second) in enumerate(zip(one.tokens[row], other.tokens[row], strict=False)):
            if first != second and one.ids[row, place] != other.ids[row, place]:
                raise CannotTraceError(
                    f"the tokens are not the same: {name}token {place} of text {row + 1} is {printable(first)!r} in A "
                    f"and {printable(second)!r} in B",
                    hint,
                )
    if one.length != other.length:
        raise CannotTraceError(f"the tokens are not the same: A has {one.length} in a row, B {other.length}", hint)


def _stacks(a: Trace, b: Trace) -> list[tuple[Stack, Stack]]:
    """The stacks of both that are held beside each other."""
    if len(a.stacks) == len(b.stacks) == 1:
        return [(a.stacks[0], b.stacks[0])]
    return [(stack, stack) for stack in dict.fromkeys((*a.stacks, *b.stacks))]


def _paired(a: Trace, b: Trace, stack: Stack, other_stack: Stack) -> tuple[list[Pair], list[str], list[str]]:
    """Pairs of calls of two stacks, what has no partner, and what there is to say about the pairing."""
    ours, theirs = a.of_stack(stack), b.of_stack(other_stack)
    if not ours or not theirs:
        return [], [f"only {'A' if ours else 'B'} has {stack} attention"], []
    notes = [] if stack is other_stack else [f"A has {stack} attention, B {other_stack} attention"]
    if [call.layer for call in ours] == [call.layer for call in theirs]:
        sides: list[list[tuple[AttentionCall, ...]]] = [[(call,) for call in calls] for calls in (ours, theirs)]
    else:
        sides = [_by_mask(a, stack), _by_mask(b, other_stack)]
        notes.append("A and B do not have the same layers, so their different masks are paired, in order")
    known = min(map(len, sides))
    missing = [
        f"only {side} has another mask, that of {calls[0].stack} layer {ranges(call.layer for call in calls)}"
        for side, every in zip("AB", sides, strict=True)
        for calls in every[known:]
    ]
    pairs: list[Pair] = []
    for one, other in zip(*sides, strict=False):
        if one[0].mask.visible.shape[2:] == other[0].mask.visible.shape[2:]:
            pairs.append((one, other))
        else:
            sizes = [" × ".join(map(str, calls[0].mask.visible.shape[2:])) for calls in (one, other)]
            missing.append(f"{stack} layer {one[0].layer} is {sizes[0]} cells in A and {sizes[1]} in B: not comparable")
    return pairs, missing, notes


def _by_mask(run: Trace, stack: Stack) -> list[tuple[AttentionCall, ...]]:
    return [calls for _, calls in run.distinct_masks() if calls[0].stack is stack]


def _grouped(groups: list[list[Pair]], pair: Pair) -> None:
    """Put a pair to those of the same stack whose masks are the same on both sides."""
    for group in groups:
        known = group[0]
        if known[0][0].stack is pair[0][0].stack and all(
            one[0].mask.same_as(two[0].mask) for one, two in zip(known, pair, strict=True)
        ):
            group.append(pair)
            return
    groups.append([pair])


def _compared(a: Trace, b: Trace, group: Sequence[Pair]) -> MaskDiff:
    ours, theirs = (tuple(call for pair in group for call in pair[side]) for side in (0, 1))
    one, other = ours[0].mask, theirs[0].mask
    codes = _codes(one.visible, other.visible)
    real = a.real_queries(ours[0]) & b.real_queries(theirs[0])
    counted = np.broadcast_to(real[:, None, :, None], codes.shape)
    only_a, only_b = codes == CellIn.ONLY_A, codes == CellIn.ONLY_B
    return MaskDiff(
        ours,
        theirs,
        (one, other),
        codes,
        real,
        _why(other, only_a & counted),
        _why(one, only_b & counted),
        _mass(ours, only_a, real),
        _mass(theirs, only_b, real),
    )


def _why(mask: Mask, cells: BoolArray) -> dict[Reason, int]:
    """How many of some cells a mask blocks for each reason."""
    reasons = np.broadcast_to(mask.reasons, cells.shape)[cells]
    counts = {reason: int(np.count_nonzero(reasons & reason)) for reason in Reason}
    return {reason: count for reason, count in counts.items() if count}


def _mass(calls: Sequence[AttentionCall], cells: BoolArray, real: BoolArray) -> float | None:
    """Mean over calls, heads and real queries of the attention that falls on some cells; None without attention."""
    given = [
        np.where(cells, call.pattern, 0).sum(axis=-1, dtype=np.float64).transpose(0, 2, 1)[real].mean()
        for call in calls
        if call.pattern is not None and real.any()
    ]
    return float(np.mean(given)) if given else None


def _change(a: Trace, b: Trace) -> tuple[Comparison | None, tuple[str, ...]]:
    """What changes from A to B in attention and outputs, where the two can be laid on each other."""
    if any(call.pattern is None for run in (a, b) for call in run.calls):
        return None, ()
    shapes = [[(call.heads, call.mask.visible.shape[2:]) for call in run.calls] for run in (a, b)]
    if shapes[0] != shapes[1]:
        return None, ("A and B do not have the same layers and heads, so attention is not compared head by head",)
    if a.outputs is None or b.outputs is None or not read_alike(a, b) or _form(a.outputs) != _form(b.outputs):
        a, b = replace(a, outputs=None), replace(b, outputs=None)
    return compare(a, b), ()


def _form(outputs: Outputs) -> tuple[object, ...]:
    """What two outputs have to share to be compared."""
    return outputs.kind, outputs.labels, outputs.logits.shape, None if outputs.hidden is None else outputs.hidden.shape
