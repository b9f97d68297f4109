"""Where the reader of the interactive view looks; a value, so that every key press makes a new one."""

from __future__ import annotations

from dataclasses import dataclass, replace

from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Stack


@dataclass(frozen=True, slots=True)
class Position:
    """A cell of a head's map.

    Attributes:
        call: Number of the attention call among the trace's.
        head: Head of the call.
        row: Text of the batch, from 0.
        query, key: Places on the axes of the map, from 0.
    """

    call: int = 0
    head: int = 0
    row: int = 0
    query: int = 0
    key: int = 0

    def of(self, trace: Trace) -> AttentionCall:
        """The attention call that is looked at."""
        return trace.calls[self.call]

    def within(self, trace: Trace) -> Position:
        """The nearest position there is."""
        call = _clamped(self.call, len(trace.calls))
        heads = trace.calls[call].heads
        rows, _, queries, keys = trace.calls[call].mask.visible.shape
        return Position(
            call,
            _clamped(self.head, heads),
            _clamped(self.row, rows),
            _clamped(self.query, queries),
            _clamped(self.key, keys),
        )

    def moved(self, trace: Trace, *, query: int = 0, key: int = 0) -> Position:
        """The cell so many queries further down and keys further right."""
        return replace(self, query=self.query + query, key=self.key + key).within(trace)

    def at_head(self, trace: Trace, *, layer: int = 0, head: int = 0) -> Position:
        """The head so many layers further down in the same stack and heads further right."""
        own = calls_of_stack(trace, self)
        call = own[_clamped(own.index(self.call) + layer, len(own))]
        return replace(self, call=call, head=self.head + head).within(trace)

    def to_head(self, trace: Trace, stack: Stack, layer: int, head: int) -> Position:
        """The head of a layer of a stack."""
        call = next(at for at, one in enumerate(trace.calls) if (one.stack, one.layer) == (stack, layer))
        return replace(self, call=call, head=head).within(trace)

    def at_cell(self, query: int, key: int) -> Position:
        """Another cell of the same head."""
        return replace(self, query=query, key=key)

    def next_stack(self, trace: Trace) -> Position:
        """The same layer of the next stack, the first after the last."""
        stacks = trace.stacks
        following = stacks[(stacks.index(self.of(trace).stack) + 1) % len(stacks)]
        layer = self.of(trace).layer
        calls = [number for number, call in enumerate(trace.calls) if call.stack is following]
        nearest = min(calls, key=lambda number: abs(trace.calls[number].layer - layer))
        return replace(self, call=nearest).within(trace)

    def next_text(self, trace: Trace) -> Position:
        """The same cell of the next text, the first after the last."""
        return replace(self, row=(self.row + 1) % self.of(trace).mask.visible.shape[0])


def calls_of_stack(trace: Trace, position: Position) -> list[int]:
    """Numbers of the calls of the stack that is looked at."""
    stack = position.of(trace).stack
    return [number for number, call in enumerate(trace.calls) if call.stack is stack]


def _clamped(number: int, count: int) -> int:
    return max(0, min(number, count - 1))
