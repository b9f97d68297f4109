"""A run as the page and the data files it becomes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from maskviz.analyse.long import read_long
from maskviz.api.trace import what_if_of
from maskviz.cli.outputs import DataWriter
from maskviz.core.checks.findings import Checked
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Page, Panel
from maskviz.core.panels.regions import parse_region
from maskviz.core.run.long import LongTrace
from maskviz.store.archive import json_bytes, npz_bytes
from maskviz.store.saved import Saved
from maskviz.view.long.page import drawn_row, long_page
from maskviz.view.show import Choice, show_page

Run = Saved | LongTrace


def page_of(saved: Run, choice: Choice, command: str, more: Sequence[Panel] = ()) -> Page:
    """The page of a run, with what changed where it is a what-if, and `more` that was asked of it."""
    if isinstance(saved, LongTrace):
        return long_page(saved, read_long(saved, drawn_row(saved, choice)), choice, command)
    return show_page(saved.trace, choice, what_if_of(saved), command, more)


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


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What is in a report beside the run.

    Attributes:
        choice: What it opens with.
        command: The command line.
        checked: What `check` found in the run, or None.
        more: Panels on what else was asked of the run.
    """

    choice: Choice
    command: str = ""
    checked: Checked | None = None
    more: Sequence[Panel] = ()


def data_writers(saved: Run, asked: Asked) -> dict[str, DataWriter]:
    """What writes the files of a run that are not drawn from its page: data, and the report."""
    return {
        ".npz": lambda: npz_bytes(saved),
        ".json": lambda: json_bytes(saved),
        ".html": lambda: report_bytes(saved, asked),
    }


def report_bytes(saved: Run, asked: Asked) -> bytes:
    """The HTML report of a run.

    Raises:
        UsageError: the run kept no whole maps.
    """
    if isinstance(saved, LongTrace):
        raise UsageError("a report shows every cell, and a long run keeps none", "draw it with -o run.png")
    from maskviz.render.html import html_bytes
    from maskviz.view.report import report_of

    what_if = what_if_of(saved)
    return html_bytes(report_of(saved.trace, asked.choice, what_if, asked.command, asked.checked, asked.more))
