"""Whether a run fits in memory, said before it starts."""

from __future__ import annotations

from maskviz.core.errors import CannotTraceError
from maskviz.core.parameters import either, parameter
from maskviz.core.run.memory import as_size, free_bytes
from maskviz.core.run.trace import Batch, ModelCard

# Every map is held once as the model computes it and once as the trace keeps it, and drawing copies some again.
_COPIES = 3
_BYTES = 4
# Different masks a model makes at once: full, windowed and chunked layers, and a copy of each.
_MASKS = 6
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


def mask_bytes(batch: Batch) -> int:
    """Bytes the masks of a run without weights take at most: a few different ones, as scores, cells and reasons."""
    longest = max(batch.length, batch.decoder.length if batch.decoder is not None else 0)
    return batch.rows * longest**2 * (_BYTES + 2) * _MASKS


def check_fits(card: ModelCard, batch: Batch, *, weightless: bool = False, most: int | None = None) -> None:
    """Refuse a run whose attention maps, or whose masks alone where there are no weights, would not fit.

    Args:
        card, batch: The model and what goes in.
        weightless: Whether the model has no weights.
        most: Bytes to be used at most; None for a share of what is free.

    Raises:
        CannotTraceError: they need more.
    """
    free = usable_bytes(most)
    needed = mask_bytes(batch) if weightless else pattern_bytes(card, batch)
    if free is not None and needed > free:
        fitting = int(batch.length * (free / needed) ** 0.5)
        other = f", or {_any_length()} shows masks of any length" if weightless else ""
        raise CannotTraceError(
            f"the {'masks' if weightless else 'attention'} of {batch.rows} x {batch.length} tokens "
            f"{'need' if weightless else 'needs'} about {as_size(needed)}, {as_size(free)} are to be used",
            f"cut the text: about {fitting} tokens fit ({parameter('max_length')}){other}",
        )


def usable_bytes(most: int | None = None) -> int | None:
    """Bytes a run may use: `most`, or a share of what is free; None where the system does not say."""
    if most is not None:
        return most
    free = free_bytes()
    return None if free is None else int(free * _SHARE)


def _any_length() -> str:
    """What draws masks of any length."""
    return either("maskviz.mask(model=..., length=...)", "'maskviz mask -m MODEL --length N'")
