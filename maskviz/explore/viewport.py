"""The part of a long axis that is on the screen."""

from __future__ import annotations


def start_of(cursor: int, count: int, room: int, start: int) -> int:
    """Return the first place that is shown, so that the cursor is among `room` places and the view moves little.

    Args:
        cursor: The place that has to be seen.
        count: Places of the axis.
        room: Places there is room for.
        start: The first place that was shown so far.
    """
    room = max(1, room)
    if cursor < start:
        start = cursor
    elif cursor >= start + room:
        start = cursor - room + 1
    return max(0, min(start, count - room))
