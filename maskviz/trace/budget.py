"""Whether a run fits in memory, said before it starts."""

from __future__ import annotations

import os
from pathlib import Path

from maskviz.core.errors import CannotTraceError
from maskviz.core.trace import Batch, ModelCard

# Every map is held once as the model computes it and once as the trace keeps it, and drawing copies some again.
_COPIES = 3
_BYTES = 4
# What is left of the free memory is for the model's own activations and everything else on the machine.
_SHARE = 0.7


def pattern_bytes(card: ModelCard, batch: Batch) -> int:
    """Bytes the attention of all heads takes at most while a run is traced: layers x heads x tokens^2 x 4, held
    `_COPIES` times."""
    decoder = batch.decoder.length if batch.decoder is not None else 0
    cells = sum(card.layers[:1]) * max(card.heads, default=0) * batch.length**2
    if len(card.layers) > 1:
        cells += card.layers[1] * card.heads[-1] * (decoder**2 + decoder * batch.length)
    return cells * batch.rows * _BYTES * _COPIES


def check_fits(card: ModelCard, batch: Batch) -> None:
    """Refuse a run whose attention maps would not fit.

    Raises:
        CannotTraceError: they need more than the share of free memory set aside for them.
    """
    free = free_bytes()
    needed = pattern_bytes(card, batch)
    if free is not None and needed > free * _SHARE:
        raise CannotTraceError(
            f"the attention of {batch.rows} x {batch.length} tokens needs about {needed / 1e9:.1f} GB, "
            f"{free / 1e9:.1f} GB are free",
            f"cut the text: about {_length_that_fits(card, batch, free)} tokens fit (--max-length)",
        )


def free_bytes() -> int | None:
    """Memory that can be used without swapping, None where the system does not say."""
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return None


def _length_that_fits(card: ModelCard, batch: Batch, free: int) -> int:
    per_cell = pattern_bytes(card, batch) / max(1, batch.length**2)
    return int((free * _SHARE / per_cell) ** 0.5)
