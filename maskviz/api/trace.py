"""What a model may see and where it looks: maskviz.trace, the run that show draws, and long runs. Imports torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Unpack

from maskviz.analyse.check import check, unasked
from maskviz.api.checking.case import examined_run
from maskviz.api.checking.own import checked_own
from maskviz.api.runs.asking import asked_of
from maskviz.api.runs.head_masks import Gates
from maskviz.api.runs.options import RunKeywords, check_options
from maskviz.api.runs.own import OwnReady, own_ran, own_saved
from maskviz.api.runs.traced import Asked, Feeding, Ready, hand_over_of, proven, ready_for, traced
from maskviz.api.shown import ShownRun, Trace, with_region
from maskviz.api.watcher import NOBODY, Watcher
from maskviz.core.checks.findings import Checked
from maskviz.core.checks.known import chosen_rules
from maskviz.core.errors import UsageError
from maskviz.core.machine import as_size
from maskviz.core.panels.page import Panel
from maskviz.core.panels.regions import parse_region
from maskviz.core.run.heads import parse_selection
from maskviz.core.run.long import LongTrace, Region
from maskviz.core.run.trace import Batch
from maskviz.core.words import Backend, Parallel
from maskviz.core.writing import parameter
from maskviz.load.models.loading import Loading
from maskviz.load.models.model import volume_kept
from maskviz.load.texts.request import Request, on_text_alone
from maskviz.store.saved import Saved
from maskviz.tracing.calling import pattern_bytes, usable_bytes
from maskviz.tracing.long.budget import check_long_fits
from maskviz.tracing.long.rehearsal import Rehearsed
from maskviz.tracing.long.run import rehearse, stream
from maskviz.tracing.long.tally import Keeping
from maskviz.tracing.modules.pooled import pool_module
from maskviz.tracing.modules.prove import prove_module
from maskviz.tracing.modules.subjects import TorchSubject
from maskviz.tracing.seam.replacing import alone
from maskviz.view.choosing import Choice, text_line

if TYPE_CHECKING:
    from maskviz.api.runs.asking import asked_of
    from maskviz.api.runs.options import Model, Text


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


class TraceKeywords(RunKeywords, total=False):
    """What else `trace` may be told, beside what is said of a run.

    Attributes:
        head_mask: Heads to silence or scale: `"0:3,5; 2:*"`, an array [layer, head] where 1 keeps and 0 silences, such
            arrays by stack, or a `HeadMask`. The trace then holds the run before and after.
    """

    head_mask: Gates | None


def trace(model: Model, text: Text = None, **options: Unpack[TraceKeywords]) -> Trace:
    """Run a model on a text and return what its attention was allowed to see and where it looked.

    A model object is run where it is and as it is, adapters included, in evaluation mode and without gradients; its
    mode, attention implementation, hooks and the random generators are afterwards as they were, also when it raises.
    Calls from several threads wait for each other; other models may run in other threads meanwhile, and are not heard.

    Args:
        model: A hub id, folder, `config.json`, `.gguf` file or `demo:bert`; or a model of transformers, bare or inside
            `torch.compile`, `DataParallel` or a `PeftModel`.
        text: A text, or several that form one padded batch; or the arguments of the model's forward, such as what a
            tokenizer returns with `return_tensors="pt"`, which are passed on as they are.
        **options: See `TraceKeywords`, `RunKeywords` and what these build on.

    Returns:
        The trace; in a notebook it displays itself.

    Raises:
        MaskvizError: what is asked for is not there, does not go together, or cannot be traced.
        TypeError: an option there is not.
    """
    check_options("trace", options, TraceKeywords)
    with alone(), volume_kept():
        return Trace.of(traced(NOBODY, ready_for(NOBODY, asked_of(model, text, options)), options.get("head_mask")))


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What is wanted of a run that is shown.

    Attributes:
        choice: What is drawn.
        long: When it is a long run, and what is kept of one.
        region: The only queries and keys that are drawn, as written; None for all.
        head_mask: Heads to silence, in the grammar; or None.
        backends: What other backends would be handed.
        prove: Whether the masks are proven.
        check: Whether every known mistake is asked for.
        report: Whether a report is written, which needs every map whole.
    """

    choice: Choice = field(default_factory=Choice)
    long: LongOptions = field(default_factory=LongOptions)
    region: str | None = None
    head_mask: str | None = None
    backends: tuple[Backend, ...] = ()
    prove: bool = False
    check: bool = False
    report: str = ""


def shown(watcher: Watcher, asked: Asked, wanted: Wanted) -> ShownRun:
    """Run a model, and all that is wanted of the run.

    Raises:
        MaskvizError: something is not there, does not go together, or cannot be run.
    """
    prepared = ready_for(watcher, asked, proving=wanted.prove)
    if isinstance(prepared, OwnReady):
        return _own_shown(watcher, prepared, wanted)
    long = long_traced(watcher, prepared, wanted.long, whole=bool(_whole(asked.request, asked.feeding, wanted)))
    if long is not None:
        return ShownRun(long, with_region(wanted.choice, long, wanted.region))
    run = traced(watcher, prepared, wanted.head_mask, wanted.long.most)
    more: list[Panel] = []
    for backend in wanted.backends:
        more += hand_over_of(watcher, prepared, run.trace, backend, wanted.choice)
    proof = proven(watcher, prepared, run) if wanted.prove else None
    checked = _checked(watcher, asked, prepared, run) if wanted.check else None
    return ShownRun(run, with_region(wanted.choice, run, wanted.region), checked, proof, more)


def _own_shown(watcher: Watcher, prepared: OwnReady, wanted: Wanted) -> ShownRun:
    """A module of the user's own, and what can be asked of one.

    Raises:
        UsageError: something is asked that only models of transformers can be asked.
    """
    if wanted.backends:
        raise UsageError(f"{parameter('attn')} is for models of transformers", f"leave out {parameter('attn')}")
    if wanted.long.asked:
        long = _own_pooled(watcher, prepared, wanted.long)
        return ShownRun(long, with_region(wanted.choice, long, wanted.region))
    ran = own_ran(watcher, prepared)
    run = own_saved(prepared, ran, wanted.head_mask)
    proof = None
    if wanted.prove:
        watcher.progress("proving the masks ...")
        proof = prove_module(ran)
    checked = None
    if wanted.check:
        watcher.progress("checking ...")
        checked = checked_own(prepared.own, ran, chosen_rules(None, None))
    return ShownRun(run, with_region(wanted.choice, run, wanted.region), checked, proof)


def _own_pooled(watcher: Watcher, prepared: OwnReady, options: LongOptions) -> LongTrace:
    """A run of a module whose attention is added up as it is made.

    Raises:
        UsageError: it is no torch module, or rows or a region are not there.
    """
    subject = prepared.subject
    if not isinstance(subject, TorchSubject):
        raise UsageError(f"{parameter('pool')} is for torch modules", f"leave out {parameter('pool')}")

    def keeping_of(length: int) -> Keeping:
        rows = () if options.rows is None else parse_selection(options.rows, length, "row")
        region = None if options.region is None else parse_region(options.region, length, length)
        return Keeping(-(-length // (options.pool or POOL)), tuple(sorted(set(rows))), region)

    watcher.progress(f"running {prepared.known.card.architecture} ...")
    trace = pool_module(subject, prepared.known, keeping_of)
    return trace.with_notes(prepared.notes)


def _whole(request: Request, feeding: Feeding, wanted: Wanted) -> tuple[str, ...]:
    """What is asked for that needs every map whole, as it was written."""
    given = {
        "head_mask": wanted.head_mask is not None,
        "attn": bool(wanted.backends),
        "prove": wanted.prove,
        "lines": wanted.choice.lines,
        "mask": feeding.mask is not None,
        "image": bool(request.images),
        "past": feeding.past is not None,
        "step": feeding.step is not None,
    }
    named = tuple(parameter(name) for name, is_given in given.items() if is_given)
    return (*named, wanted.report) if wanted.report else named


def check_together(request: Request, feeding: Feeding, wanted: Wanted, parallel: Parallel | None) -> None:
    """Refuse what does not go together, before a model is looked for.

    Args:
        request: What is to be encoded.
        feeding: How it is fed to the model.
        wanted: What is wanted of the run.
        parallel: How the model is spread.

    Raises:
        UsageError: a long run beside what needs every map whole, or a check of a run it knows nothing of.
    """
    check_whole(wanted.long, _whole(request, feeding, wanted))
    if not wanted.check:
        return
    others = {
        "past": feeding.past,
        "step": feeding.step,
        "mask": feeding.mask,
        "pool": wanted.long.pool,
        "rows": wanted.long.rows,
        "parallel": parallel,
    }
    for name, given in others.items():
        if given is not None:
            hint = f"'maskviz check' takes {parameter('mask')}" if name == "mask" else f"leave out {parameter(name)}"
            raise UsageError(f"{parameter('check')} and {parameter(name)} are given together", hint)


def _checked(watcher: Watcher, asked: Asked, prepared: Ready, run: Saved) -> Checked:
    """What every rule says of a run, of a what-if of the plain one."""
    watcher.progress("checking ...")
    source = asked.model.source if isinstance(asked.model, Loading) else None
    found = examined_run(source, prepared.loaded, prepared.encoded, run.before or run.trace)
    texts: Sequence[str] = prepared.encoded.batch.texts
    return Checked(
        text_line(texts) or "ids",
        found.about,
        check(found.case),
        found.asked,
        notes=found.notes,
        unasked=unasked(found.case),
        passes=0 if found.case.run is None else found.case.run.passes,
    )
