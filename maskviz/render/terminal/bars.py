"""A list of named numbers as horizontal bars in the terminal."""

from __future__ import annotations

from rich.cells import cell_len
from rich.text import Text

from maskviz.core.panels.charts import Bars
from maskviz.render.numbers import number_text, stretch
from maskviz.render.palette import NEGATIVE_INK, POSITIVE_INK
from maskviz.render.terminal.screen import Screen, heading, left, right

_LEAST_BAR = 16  # columns that bars keep before intervals are written
_LONGEST_BAR = 48


def bar_lines(panel: Bars, screen: Screen) -> list[Text]:
    """Return a line for each bar: its name, its number, the bar on its side of zero, and its interval where it fits."""
    signed = bool((panel.values < 0).any())
    names = [screen.fit(screen.words(name), screen.width // 3) for name in panel.names]
    numbers = [number_text(value, signed=signed) or "none" for value in panel.values.tolist()]
    intervals = _intervals(panel)
    front = max(map(cell_len, names), default=0) + max(map(len, numbers), default=0) + 2
    behind = max(map(len, intervals), default=0) + 1
    written = behind > 1 and screen.width - front - behind >= _LEAST_BAR
    room = min(_LONGEST_BAR, screen.width - front - (behind if written else 0))
    bars = _bars(panel, max(3, room), screen)
    lines = heading(screen, panel.title, panel.caption)
    for name, number, bar, interval in zip(names, numbers, bars, intervals, strict=True):
        line = Text(left(name, max(map(cell_len, names))) + " ")
        line.append(right(number, max(map(len, numbers))) + " ")
        line.append_text(bar)
        line.append(f" {interval}" if written else "", style="dim")
        lines.append(line)
    words = f"each bar is {screen.words(panel.unit)}"
    if behind > 1:
        words += ", in brackets its interval" if written else "; a wider terminal or -o file.png shows the intervals"
    return lines + [Text(line, style="dim") for line in screen.wrap(words)]


def _intervals(panel: Bars) -> list[str]:
    """Return "[0.021, 0.041]" for each bar, nothing where it has no interval; ends stand below one another."""
    if panel.low is None or panel.high is None:
        return [""] * len(panel.names)
    ends = [[number_text(end) for end in side.tolist()] for side in (panel.low, panel.high)]
    widths = [max(map(len, side), default=0) for side in ends]
    return [
        f"[{low:>{widths[0]}}, {high:>{widths[1]}}]" if low and high else "" for low, high in zip(*ends, strict=True)
    ]


def _bars(panel: Bars, room: int, screen: Screen) -> list[Text]:
    """Return all bars, `room` columns each: blocks left and right of a line at zero, half a column exact."""
    finite = stretch(panel.values, 0.0)
    below, above = max(0.0, -finite[0]), max(0.0, finite[1])
    before = min(max(int((room - 1) * below / (below + above)), below > 0), room - 1 - (above > 0))
    after = room - 1 - before
    column = max(below / max(1, before), above / max(1, after))
    full, half_left, half_right, zero = ("#", " ", " ", "|") if screen.ascii_only else ("█", "▐", "▌", "│")
    lines = []
    for value in panel.values.tolist():
        longest = before if value < 0 else after
        halves = 0 if value != value else round(min(2.0 * longest, abs(value) / column * 2))
        whole, odd = divmod(halves, 2)
        if value < 0:
            parts = (right((half_left if odd else "") + full * whole, before), " " * after)
        else:
            parts = (" " * before, left(full * whole + (half_right if odd else ""), after))
        lines.append(Text.assemble((parts[0], NEGATIVE_INK), (zero, "dim"), (parts[1], POSITIVE_INK)))
    return lines
