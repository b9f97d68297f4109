"""What another attention backend would be handed in a run. Imports torch."""

from __future__ import annotations

from dataclasses import dataclass

from maskviz.analyse.handover import handed_groups
from maskviz.api.watcher import Watcher
from maskviz.core.panels.page import Panel
from maskviz.core.run.trace import Trace
from maskviz.core.words import Backend
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded
from maskviz.tracing.backends.handing import hand_over
from maskviz.tracing.calling import Calling
from maskviz.view.masks.handover import hand_over_panels
from maskviz.view.show import Choice


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A backend, and the run it is asked about.

    Attributes:
        backend: The backend.
        loaded, encoded, calling: What was run, and how.
        trace: What came of it.
    """

    backend: Backend
    loaded: Loaded
    encoded: Encoded
    calling: Calling
    trace: Trace


def hand_over_of(watcher: Watcher, asked: Asked, choice: Choice) -> list[Panel]:
    """What a backend is handed in a run, as panels behind its masks."""
    watcher.progress(f"asking what {asked.backend} would be handed ...")
    given, inputs = asked.encoded.user_mask, asked.encoded.inputs
    inputs = inputs if given is None else {**inputs, "attention_mask": given.tensor}
    over = hand_over(asked.loaded.model, inputs, asked.trace, asked.backend, asked.calling)
    return hand_over_panels(asked.trace, over, handed_groups(asked.trace, over), choice)
