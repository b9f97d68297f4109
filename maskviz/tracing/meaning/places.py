"""Where a model's attention calls are made, and the gates of a head mask at each of them."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.core.arrays import FloatArray
from maskviz.core.errors import UsageError
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Stack
from maskviz.tracing.meaning.hearing import merged

# Path of an attention module, and how often it attended before in the same pass.
Place = tuple[str, int]


def places_of(trace: Trace) -> Iterator[tuple[Place, tuple[AttentionCall, ...]]]:
    """Each place of a run in the order of the calls, with the call made there: two where one softmax is over the
    tokens of both sides."""
    turns: dict[str, int] = {}
    calls = iter(trace.calls)
    call = next(calls, None)
    while call is not None:
        turn = turns.get(call.module, 0)
        turns[call.module] = turn + 1
        after = next(calls, None)
        if after is not None and merged(call, after):
            yield (call.module, turn), (call, after)
            after = next(calls, None)
        else:
            yield (call.module, turn), (call,)
        call = after


def gates_of(trace: Trace, head_mask: HeadMask) -> dict[Place, FloatArray]:
    """The gates float32 [head] of each place where one is not 1.

    Raises:
        UsageError: the mask names a head that did not run, or one side alone of a softmax over both.
    """
    ran = {(call.stack.value, call.layer, head) for call in trace.calls for head in range(call.heads)}
    for stack, head, _ in head_mask.changed():
        if (stack, head.layer, head.head) not in ran:
            layers = ", ".join(str(call.layer) for call in trace.of_stack(Stack(stack)))
            raise UsageError(f"head {head} has no attention to gate", f"attention runs in {stack} layers {layers}")
    gates: dict[Place, FloatArray] = {}
    for place, calls in places_of(trace):
        of_sides = [_gates_of_call(head_mask, call) for call in calls]
        if any(not np.array_equal(one, of_sides[0]) for one in of_sides):
            raise UsageError(
                f"{place[0]} attends to both sides in one softmax: its heads cannot be gated for one alone",
                "name them in both stacks, such as 'decoder 0:3; cross 0:3'",
            )
        if (of_sides[0] != 1).any():
            gates[place] = of_sides[0]
    return gates


def _gates_of_call(head_mask: HeadMask, call: AttentionCall) -> FloatArray:
    gates = head_mask.of(call.stack, call.layer)
    return np.ones(call.heads, np.float32) if gates is None else gates[: call.heads]
