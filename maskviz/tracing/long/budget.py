"""Whether a long run fits in memory, and what of it would, said before it starts."""

from __future__ import annotations

from dataclasses import dataclass, replace

from maskviz.core.errors import CannotTraceError
from maskviz.core.machine import as_size
from maskviz.core.run.trace import Batch, ModelCard
from maskviz.core.words import Statistic
from maskviz.core.writing import parameter
from maskviz.tracing.calling import usable_bytes
from maskviz.tracing.long.rehearsal import Rehearsed, RehearsedPart
from maskviz.tracing.long.tally import Keeping

_BYTES = 4
# Arrays as wide as the hidden states that a layer holds at once; its inner layer is three of four times the width.
_WIDTHS = 16
# Scores, weights, their cells and what a model calculates them from.
_SQUARES = 4
_BLOCK = 1 << 22  # cells of a block, more where its fewest rows have more
_FEWEST = 64
_SMALLEST = 8


@dataclass(frozen=True, slots=True)
class MemoryNeed:
    """Bytes a long run takes at most beside the model.

    Attributes:
        kept: Maps, statistics and rows of every call.
        running: The activations of a layer, and one block of attention.
        squares: Squares the model itself makes: masks it calculates with, or attention written by hand.
    """

    kept: int
    running: int
    squares: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.kept + self.running + self.squares


def need_of(card: ModelCard, batch: Batch, rehearsed: Rehearsed, keeping: Keeping) -> MemoryNeed:
    """What a rehearsed run takes at most."""
    longest = max(batch.length, batch.decoder.length if batch.decoder is not None else 0)
    kept = sum(
        _kept(part, batch.rows, longest, keeping) for part in rehearsed.parts.values() if keeping.wants(part.layer)
    )
    square = batch.rows * longest**2 * _BYTES
    heads = max((part.heads for part in rehearsed.parts.values()), default=1)
    squares = 2 * square if rehearsed.whole_masks else 0
    if rehearsed.whole_layers or rehearsed.biased:
        squares += _SQUARES * heads * square
    block = min(heads * longest**2, max(_BLOCK, _FEWEST * heads * longest))
    running = batch.rows * longest * (card.hidden_size or 0) * _BYTES * _WIDTHS + _SQUARES * block * _BYTES
    return MemoryNeed(kept, running, squares)


def _kept(part: RehearsedPart, rows: int, longest: int, keeping: Keeping) -> int:
    tiles = -(-longest // keeping.tile)
    region = keeping.region
    cells = 0 if region is None else (region.last_query - region.first_query) * (region.last_key - region.first_key)
    of_head = 2 * tiles**2 + len(Statistic) * longest + len(keeping.rows) * longest + cells
    return rows * part.heads * of_head * _BYTES


def check_long_fits(
    card: ModelCard, batch: Batch, rehearsed: Rehearsed, keeping: Keeping, most: int | None = None
) -> MemoryNeed:
    """Return what a long run takes.

    Args:
        card, batch: The model and what goes in.
        rehearsed: What `rehearse` returned for them.
        keeping: What of every call is kept.
        most: Bytes to be used at most; None for a share of what is free.

    Raises:
        CannotTraceError: more than there is; it says what would fit.
    """
    need, usable = need_of(card, batch, rehearsed, keeping), usable_bytes(most)
    if usable is None or need.total <= usable:
        return need
    raise CannotTraceError(
        f"{batch.rows} x {batch.length} tokens need about {as_size(need.total)} beside the model, "
        f"{as_size(usable)} are to be used",
        _fitting(card, batch, rehearsed, keeping, usable),
    )


def _fitting(card: ModelCard, batch: Batch, rehearsed: Rehearsed, keeping: Keeping, usable: int) -> str:
    """What would fit: a smaller pool, fewer layers, else a shorter text."""
    longest = max(batch.length, batch.decoder.length if batch.decoder is not None else 0)
    pool = -(-longest // keeping.tile) // 2
    while pool >= _SMALLEST:
        smaller = replace(keeping, tile=-(-longest // pool))
        if need_of(card, batch, rehearsed, smaller).total <= usable:
            return f"{parameter('pool', pool)} would fit"
        pool //= 2
    need = need_of(card, batch, rehearsed, keeping)
    layers = len({part.layer for part in rehearsed.parts.values() if keeping.wants(part.layer)})
    fitting = int((usable - need.running - need.squares) / max(1, need.kept) * layers)
    if fitting >= 1:
        return f"{fitting} of the {layers} layers would fit, such as {parameter('layer', f'0-{fitting - 1}')}"
    if need.squares:
        share = (usable - need.running) / (need.squares + need.kept)
        return f"cut the text: about {int(longest * max(0.0, share) ** 0.5)} tokens fit ({parameter('max_length')})"
    return f"cut the text: about {int(longest * usable / need.total)} tokens fit ({parameter('max_length')})"
