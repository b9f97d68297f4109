"""A run as the page and the data files it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from maskviz.analyse.long import read_long
from maskviz.cli.outputs import DataWriter
from maskviz.core.errors import UsageError
from maskviz.core.long import LongTrace
from maskviz.core.panels import Page, Panel
from maskviz.core.regions import parse_region
from maskviz.store.archive import json_bytes, npz_bytes
from maskviz.store.saved import Saved
from maskviz.view.long import drawn_row, long_page
from maskviz.view.show import Choice, WhatIf, show_page

Run = Saved | LongTrace


def page_of(saved: Run, choice: Choice, command: str, more: Sequence[Panel] = ()) -> Page:
    """The page of a run, with what changed where it is a what-if, and `more` that was asked of it."""
    if isinstance(saved, LongTrace):
        return long_page(saved, read_long(saved, drawn_row(saved, choice)), choice, command)
    what_if = None
    if saved.before is not None and saved.change is not None:
        what_if = WhatIf(saved.before, saved.change, lambda index: saved.names.get(index, str(index)))
    return show_page(saved.trace, choice, what_if, command, more)


def sizes_of(saved: Run) -> tuple[int, int]:
    """The most queries and the most keys a region of a run may have, counted from the first token of the text."""
    if isinstance(saved, LongTrace):
        return max(call.queries for call in saved.calls), max(call.keys for call in saved.calls)
    masks = [call.mask for call in saved.trace.calls]
    if not masks:
        raise UsageError("there is no mask to draw a region of", "leave out --region")
    return (
        max(mask.query_offset + mask.visible.shape[2] for mask in masks),
        max(mask.visible.shape[3] for mask in masks),
    )


def chosen_part(choice: Choice, saved: Run, region: str | None) -> Choice:
    """A choice with the region that was typed, if one was.

    Raises:
        UsageError: the run has no such region.
    """
    return choice if region is None else replace(choice, region=parse_region(region, *sizes_of(saved)))


def data_writers(saved: Run) -> dict[str, DataWriter]:
    """What writes the data files of a run."""
    return {".npz": lambda: npz_bytes(saved), ".json": lambda: json_bytes(saved)}
