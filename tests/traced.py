"""A model encoded for and traced, as every command begins."""

from __future__ import annotations

from typing import NamedTuple

from maskviz.core.run.trace import Trace
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded, Request, encode
from maskviz.tracing.run import run


class Traced(NamedTuple):
    """A model, what it was called with, and its trace."""

    loaded: Loaded
    encoded: Encoded
    trace: Trace


def traced(loaded: Loaded, request: Request) -> Traced:
    encoded = encode(loaded, request)
    return Traced(loaded, encoded, run(loaded.model, encoded.inputs, encoded.batch, loaded.card))
