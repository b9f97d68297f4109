"""What every readable file of results begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import maskviz
from maskviz.core.run.trace import ModelCard

VERSION = 1


def preamble(kind: str, card: ModelCard, texts: Sequence[str], command: str) -> dict[str, Any]:
    """What a file is, which command and model made it, and of which texts."""
    return {
        "kind": kind,
        "version": VERSION,
        "maskviz": maskviz.__version__,
        "command": command,
        "model": asdict(card),
        "texts": list(texts),
    }
