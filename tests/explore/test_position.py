"""Walking through a trace never leaves it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import maskviz
from maskviz.core.run.trace import Trace
from maskviz.explore.cursor import Position, calls_of_stack
from maskviz.explore.viewport import start_of

steps = st.lists(
    st.tuples(st.sampled_from(["cell", "head", "stack", "text"]), st.integers(-99, 99), st.integers(-9, 9))
)


@pytest.fixture(scope="module")
def encoder_decoder() -> Trace:
    return maskviz.trace("demo:t5", ["the cat sat in the house", "a dog"], target=["the cat", "the dog"])


@given(steps)
def test_no_walk_leaves_the_trace(encoder_decoder: Trace, walk: list[tuple[str, int, int]]) -> None:
    trace, position = encoder_decoder, Position()
    for where, down, across in walk:
        match where:
            case "cell":
                position = position.moved(trace, query=down, key=across)
            case "head":
                position = position.at_head(trace, layer=down, head=across)
            case "stack":
                position = position.next_stack(trace)
            case _:
                position = position.next_text(trace)
        assert position == position.within(trace)
        visible = position.of(trace).mask.visible
        assert visible[position.row, 0, position.query, position.key] in (True, False)


def test_a_layer_further_stays_in_its_stack(encoder_decoder: Trace) -> None:
    trace = encoder_decoder
    position = Position().within(trace)
    for _ in range(20):
        position = position.at_head(trace, layer=1)
    assert position.call == calls_of_stack(trace, Position())[-1]


def test_stacks_come_round(encoder_decoder: Trace) -> None:
    trace, position, seen = encoder_decoder, Position(), []
    for _ in range(len(trace.stacks) + 1):
        seen.append(position.of(trace).stack)
        position = position.next_stack(trace)
    assert seen == [*trace.stacks, trace.stacks[0]]


@given(st.integers(0, 200), st.integers(1, 200), st.integers(-3, 50), st.integers(-5, 250))
def test_the_cursor_is_always_in_view(cursor: int, count: int, room: int, start: int) -> None:
    cursor = min(cursor, count - 1)
    first = start_of(cursor, count, room, start)
    assert 0 <= first <= cursor < first + max(1, room)
