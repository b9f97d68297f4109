"""`maskviz explore`: a run walked through in the terminal, with heads that can be switched off."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.inputs import parse_ids, read_texts
from maskviz.cli.saved_runs import saved_run
from maskviz.core.errors import UsageError
from maskviz.core.words import CacheKind

if TYPE_CHECKING:
    from maskviz.core.run.heads import HeadMask
    from maskviz.explore.app import Answers
    from maskviz.store.saved import Saved

Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="Texts; several form one padded batch. Or a run.npz of 'maskviz show'."),
]


def explore(
    ctx: typer.Context,
    texts: Texts = None,
    model: o.ModelName = "demo:bert",
    no_weights: o.NoWeights = False,
    random_weights: o.RandomWeights = None,
    tokenizer: o.TokenizerName = None,
    pair: o.Pairs = None,
    target: o.Targets = None,
    ids: o.Ids = None,
    target_ids: o.TargetIds = None,
    inputs: o.Inputs = None,
    file: o.File = None,
    padding_side: o.PaddingSide = None,
    pad_to: o.PadTo = None,
    max_length: o.MaxLength = None,
    position_ids: o.PositionIds = o.Positions.PLAIN,
    past: o.Past = None,
    step: o.Step = None,
    cache: o.Cache = CacheKind.DYNAMIC,
    image: o.Images = None,
    token_types: o.TokenTypes = None,
    packed: o.Packed = False,
    no_cache: o.NoCache = False,
    mask: o.MaskFile = None,
    head_mask: o.HeadMaskText = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    revision: o.Revision = None,
    offline: o.Offline = False,
    trust_remote_code: o.Trust = False,
) -> None:
    """Walk through masks and heads with the arrow keys, and switch heads off to see what changes."""
    options = {**locals(), "prove": False, "parallel": None}
    env: Env = ctx.obj
    _check_terminal(env)
    # It asks the terminal for its graphics when it is imported, and logs a traceback where none answers.
    logging.getLogger("textual_image").setLevel(logging.CRITICAL)
    from maskviz.explore.app import Explorer

    path = saved_run(ctx, texts, {"texts"})
    if path is None:
        parse_ids(ids, "--ids"), parse_ids(target_ids, "--target-ids")
        saved, answers = _live(env, options, read_texts(env, texts, file, ids, image, inputs))
    else:
        saved, answers = _read(path)
    if not saved.trace.calls:
        raise UsageError(f"{saved.trace.card.architecture} has no attention here", "'maskviz info' lists the layers")

    Explorer(saved, answers).run()


def _check_terminal(env: Env) -> None:
    """Refuse to start where nobody could see it, before a model is loaded.

    Raises:
        UsageError: there is no terminal, or the library that draws on it is not installed.
    """
    if not (env.stdin.isatty() and env.stdout.isatty()):
        raise UsageError("explore needs a terminal to draw on and to read keys from", "'maskviz show' writes to pipes")
    if not env.stderr.isatty():
        raise UsageError("explore draws on standard error, and that is no terminal here", "leave out 2>")
    for library in ("textual", "textual_image"):
        if find_spec(library) is None:
            raise UsageError(f"explore needs {library.replace('_', '-')}", "pip install 'maskviz[explore]'")


def _read(path: Path) -> tuple[Saved, Answers]:
    from maskviz.store.archive import read_npz

    return read_npz(path), _answers(None, "a saved run has no model to run again")


def _live(env: Env, options: dict[str, Any], found: tuple[str, ...]) -> tuple[Saved, Answers]:
    from maskviz.api.running import run_with  # torch and transformers start here
    from maskviz.api.runs.traced import encoded_for, loaded_by, traced
    from maskviz.cli.asking import feeding_of, loading_of, request_of

    request, loading = request_of(options, found), loading_of(options)
    feeding = feeding_of(options, request)
    loaded = loaded_by(env, loading, request)
    encoded, calling = encoded_for(env, loaded, request, feeding)
    saved = traced(env, loaded, encoded, options["head_mask"], calling)
    if loaded.weightless:
        return saved, _answers(None, "without weights there are no numbers to change")
    plain, one_at_a_time = saved.before or saved.trace, Lock()

    def rerun(gates: HeadMask) -> Saved:
        with one_at_a_time:  # listening replaces functions of the whole process
            return run_with(loaded, encoded, plain, gates, calling)

    return saved, _answers(rerun, "")


def _answers(rerun: Callable[[HeadMask], Saved] | None, no_rerun: str) -> Answers:
    from maskviz.analyse.why import explain
    from maskviz.core.results.why import Explanation, Place
    from maskviz.core.run.trace import AttentionCall, Trace
    from maskviz.explore.app import Answers

    def why(trace: Trace, call: AttentionCall, cell: tuple[int, int, int, int]) -> tuple[Explanation, ...]:
        row, head, query, key = cell
        return explain(trace, [call], Place(query + call.mask.query_offset, key), row, [head])

    return Answers(why, rerun, no_rerun)
