"""What a model may see and where it looks: `maskviz.trace`, and the run that `show` draws. Imports torch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Unpack

from maskviz.analyse.check import check, unasked
from maskviz.api.checking.case import examined_run
from maskviz.api.runs.asking import asked_of
from maskviz.api.runs.head_masks import Gates
from maskviz.api.runs.long import LongOptions, check_whole, long_traced
from maskviz.api.runs.options import RunOptions, refuse_unknown
from maskviz.api.runs.traced import Asked, Feeding, Ready, hand_over_of, proven, ready, traced
from maskviz.api.shown import Shown, Trace, with_region
from maskviz.api.watcher import NOBODY, Watcher
from maskviz.core.checks.findings import Checked
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Panel
from maskviz.core.words import Backend, Parallel
from maskviz.core.writing import parameter
from maskviz.load.models.loading import Loading
from maskviz.load.models.model import volume_kept
from maskviz.load.texts.request import Request
from maskviz.store.saved import Saved
from maskviz.tracing.seam.replacing import alone
from maskviz.view.choosing import Choice, text_line

if TYPE_CHECKING:
    from maskviz.api.runs.asking import asked_of


if TYPE_CHECKING:
    from maskviz.api.runs.options import Model, Text


class TraceOptions(RunOptions, total=False):
    """What else `trace` may be told, beside what is said of a run.

    Attributes:
        head_mask: Heads to silence or scale: `"0:3,5; 2:*"`, an array [layer, head] where 1 keeps and 0 silences, such
            arrays by stack, or a `HeadMask`. The trace then holds the run before and after.
    """

    head_mask: Gates | None


def trace(model: Model, text: Text = None, **options: Unpack[TraceOptions]) -> Trace:
    """Run a model on a text and return what its attention was allowed to see and where it looked.

    A model object is run where it is and as it is, adapters included, in evaluation mode and without gradients; its
    mode, attention implementation, hooks and the random generators are afterwards as they were, also when it raises.
    Calls from several threads wait for each other; other models may run in other threads meanwhile, and are not heard.

    Args:
        model: A hub id, folder, `config.json`, `.gguf` file or `demo:bert`; or a model of transformers, bare or inside
            `torch.compile`, `DataParallel` or a `PeftModel`.
        text: A text, or several that form one padded batch; or the arguments of the model's forward, such as what a
            tokenizer returns with `return_tensors="pt"`, which are passed on as they are.
        **options: See `TraceOptions`, `RunOptions` and what these build on.

    Returns:
        The trace; in a notebook it displays itself.

    Raises:
        MaskvizError: what is asked for is not there, does not go together, or cannot be traced.
        TypeError: an option there is not.
    """
    refuse_unknown("trace", options, TraceOptions)
    with alone(), volume_kept():
        return Trace.of(traced(NOBODY, ready(NOBODY, asked_of(model, text, options)), options.get("head_mask")))


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


def shown(watcher: Watcher, asked: Asked, wanted: Wanted) -> Shown:
    """Run a model, and all that is wanted of the run.

    Raises:
        MaskvizError: something is not there, does not go together, or cannot be run.
    """
    prepared = ready(watcher, asked, proving=wanted.prove)
    long = long_traced(watcher, prepared, wanted.long, whole=bool(_whole(asked.request, asked.feeding, wanted)))
    if long is not None:
        return Shown(long, with_region(wanted.choice, long, wanted.region))
    run = traced(watcher, prepared, wanted.head_mask, wanted.long.most)
    more: list[Panel] = []
    for backend in wanted.backends:
        more += hand_over_of(watcher, prepared, run.trace, backend, wanted.choice)
    proof = proven(watcher, prepared, run) if wanted.prove else None
    checked = _checked(watcher, asked, prepared, run) if wanted.check else None
    return Shown(run, with_region(wanted.choice, run, wanted.region), checked, proof, more)


def _whole(request: Request, feeding: Feeding, wanted: Wanted) -> tuple[str, ...]:
    """What is asked for that needs every map whole, as it was written."""
    given = {
        "head_mask": wanted.head_mask is not None,
        "attn": bool(wanted.backends),
        "prove": wanted.prove,
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
