"""A page at a glance: a few lines on what it shows, for somebody who had it written into a file."""

from __future__ import annotations

from collections.abc import Iterator

from maskviz.core.panels.charts import Bars
from maskviz.core.panels.page import MapRow, MaskGrid, Note, Page, Panel, Tone

_LINES, _LENGTH, _ROWS = 5, 160, 5


def glance(page: Page) -> tuple[str, ...]:
    """At most five lines, each at most 160 characters; quiet notes are left out."""
    lines = [line for panel in page.panels for line in _lines_of(panel)]
    return tuple(line if len(line) <= _LENGTH else f"{line[: _LENGTH - 1]}…" for line in lines[:_LINES])


def _lines_of(panel: Panel) -> Iterator[str]:
    match panel:
        case Note() if panel.tone is not Tone.QUIET:
            yield " ".join((panel.text, *panel.details[:1]))
        case MaskGrid() | MapRow():
            yield panel.line
        case Bars():
            rows = list(zip(panel.names, panel.values.tolist(), strict=True))[:_ROWS]
            yield f"{panel.title}: {', '.join(f'{name} {value:.3g}' for name, value in rows)} ({panel.unit})"
