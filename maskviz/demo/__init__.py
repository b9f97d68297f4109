"""Small models of our own, shipped with the program, so that it has something to show without a network."""

from __future__ import annotations

from pathlib import Path

NAMES: tuple[str, ...] = ("bert", "gpt", "t5")
# Where the Hugging Face folder of each lies.
MODELS = Path(__file__).parent / "models"


def folder(name: str) -> Path:
    """The Hugging Face folder of a demo model; `KeyError` if there is no demo model of that name."""
    if name not in NAMES:
        raise KeyError(name)
    return MODELS / name
