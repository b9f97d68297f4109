"""Long runs: when a run is one, what is kept of it, and the run itself. Imports torch."""

from __future__ import annotations

import re
from dataclasses import dataclass

from maskviz.api.runs.traced import Ready
from maskviz.api.watcher import Watcher
from maskviz.core.errors import UsageError
from maskviz.core.machine import as_size
from maskviz.core.panels.regions import parse_region
from maskviz.core.run.heads import parse_selection
from maskviz.core.run.long import LongTrace, Region
from maskviz.core.run.trace import Batch
from maskviz.core.writing import parameter
from maskviz.load.texts.request import on_text_alone
from maskviz.tracing.calling import pattern_bytes, usable_bytes
from maskviz.tracing.long.budget import check_long_fits
from maskviz.tracing.long.rehearsal import Rehearsed
from maskviz.tracing.long.run import rehearse, stream
from maskviz.tracing.long.tally import Keeping

# Tiles along a side of a pooled map unless another number is asked for.
POOL = 128
_UNITS = {"": 1e9, "kb": 1e3, "mb": 1e6, "gb": 1e9, "tb": 1e12, "kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}


@dataclass(frozen=True, slots=True)
class LongOptions:
    """What is said of long runs.

    Attributes:
        pool: Tiles along a side of each map, or None.
        rows, region, layers: As they were written, or None.
        most: Bytes to be used at most, or None.
    """

    pool: int | None = None
    rows: str | None = None
    region: str | None = None
    layers: str | None = None
    most: int | None = None

    @property
    def asked(self) -> bool:
        """Whether a long run is asked for, however short the text."""
        return self.pool is not None or self.rows is not None


def check_whole(long: LongOptions, whole: tuple[str, ...]) -> None:
    """Refuse a long run beside what needs every map whole, as it was written.

    Raises:
        UsageError: both are asked for.
    """
    if long.asked and whole:
        name = parameter("pool" if long.pool is not None else "rows")
        raise UsageError(f"{name} and {whole[0]} are given together", f"{whole[0]} needs every map whole")


def parse_bytes(text: str) -> int:
    """A size such as "8GB" or "500MB" in bytes; a bare number is in GB.

    Raises:
        UsageError: it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]i?b)?\s*", text, re.IGNORECASE)
    if found is None or float(found[1]) == 0:
        raise UsageError(f"{parameter('max_memory')} {text[:40]!r} is no size", "write it as 8GB or 500MB")
    return int(float(found[1]) * _UNITS[(found[2] or "").lower()])


def long_traced(watcher: Watcher, ready: Ready, options: LongOptions, *, whole: bool) -> LongTrace | None:
    """Run a long text, its attention added up as it is made; None where whole maps fit and no long run is asked for.

    Args:
        watcher: Who is told.
        ready: The model and its inputs.
        options: What is said of long runs.
        whole: Whether something is asked for that needs every map whole.

    Raises:
        UsageError: rows or a region that are not there.
        CannotTraceError: the run does not fit, or the model cannot be streamed.
    """
    loaded, encoded = ready.loaded, ready.encoded
    card, batch = loaded.card, encoded.batch
    size, usable = pattern_bytes(card, batch), usable_bytes(options.most)
    fits = usable is None or size <= usable
    if not options.asked and (fits or whole or ready.calling.parts or loaded.weightless):
        return None
    with on_text_alone(loaded.model, encoded.inputs):
        rehearsed = rehearse(loaded.model, encoded.inputs, batch, card)
    keeping = _keeping(options, batch, rehearsed)
    need = check_long_fits(card, batch, rehearsed, keeping, options.most)
    tiles = -(-_longest(batch) // keeping.tile)
    free = "" if usable is None else f", {as_size(usable)} are to be used"
    watcher.say(
        f"whole, the attention of {batch.rows} x {batch.length} tokens needs about {as_size(size)}{free}; "
        f"added up in {tiles} x {tiles} tiles about {as_size(need.total)}"
    )
    watcher.progress(f"running {card.architecture} on {batch.rows} x {batch.length} tokens ...")
    trace = stream(loaded.model, encoded.inputs, batch, card, keeping, rehearsed)
    return trace.with_notes((*loaded.notes, *encoded.notes))


def _keeping(options: LongOptions, batch: Batch, rehearsed: Rehearsed) -> Keeping:
    side, longest = batch.decoder or batch, _longest(batch)
    rows = () if options.rows is None else parse_selection(options.rows, side.length, "row")
    region: Region | None = None
    if options.region is not None:
        shortest = min(batch.length, side.length)  # each of its attentions has these
        region = parse_region(options.region, shortest, shortest)
    layers = None
    if options.layers is not None:
        layers = frozenset(
            parse_selection(options.layers, 1 + max(part.layer for part in rehearsed.parts.values()), "layer")
        )
    return Keeping(-(-longest // (options.pool or POOL)), tuple(sorted(set(rows))), region, layers)


def _longest(batch: Batch) -> int:
    return max(batch.length, batch.decoder.length if batch.decoder is not None else 0)
