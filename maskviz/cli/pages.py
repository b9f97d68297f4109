"""A run as the page and the data files it becomes."""

from __future__ import annotations

from collections.abc import Sequence

from maskviz.cli.outputs import DataWriter
from maskviz.core.panels import Page, Panel
from maskviz.store.archive import json_bytes, npz_bytes
from maskviz.store.saved import Saved
from maskviz.view.show import Choice, WhatIf, show_page


def page_of(saved: Saved, choice: Choice, command: str, more: Sequence[Panel] = ()) -> Page:
    """The page of a run, with what changed where it is a what-if, and `more` that was asked of it."""
    what_if = None
    if saved.before is not None and saved.change is not None:
        what_if = WhatIf(saved.before, saved.change, lambda index: saved.names.get(index, str(index)))
    return show_page(saved.trace, choice, what_if, command, more)


def data_writers(saved: Saved) -> dict[str, DataWriter]:
    """What writes the data files of a run."""
    return {".npz": lambda: npz_bytes(saved), ".json": lambda: json_bytes(saved)}
