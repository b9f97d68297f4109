"""`maskviz explore`: a run walked through in the terminal, with heads that can be switched off."""

from __future__ import annotations

import logging
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.own_module import OwnOptions
from maskviz.cli.parsing.groups import GivenOptions
from maskviz.cli.pulse import PULSE
from maskviz.cli.saved_runs import saved_run
from maskviz.core.errors import UsageError

if TYPE_CHECKING:
    from maskviz.api.runs.traced import Asked
    from maskviz.core.run.heads import HeadMask
    from maskviz.explore.app import Answers
    from maskviz.store.saved import Saved

Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="Texts; several form one padded batch. Or a run.npz of 'maskviz show'."),
]


def explore(
    env: Env,
    typed: GivenOptions,
    model: o.ModelOptions,
    module: OwnOptions,
    weights: o.WeightOptions,
    hub: o.HubOptions,
    text: o.TextOptions,
    batch: o.BatchOptions,
    images: o.ImageOptions,
    decoding: o.DecodingOptions,
    own: o.MaskOptions,
    silenced: o.HeadMaskOptions,
    texts: Texts = None,
    file: o.File = None,
) -> None:
    """Walk through masks and heads with the arrow keys, and switch heads off to see what changes."""
    _check_terminal(env)
    # It asks the terminal for its graphics when it is imported, and logs a traceback where none answers.
    logging.getLogger("textual_image").setLevel(logging.CRITICAL)
    from maskviz.explore.app import Explorer

    path = saved_run(typed, texts, frozenset({"texts"}))
    if path is None:
        text.check_ids()
        own_module = module.own(env, typed, text)
        found = () if own_module is not None else text.read(env, texts, file, images.image)
        from maskviz.api.runs.traced import Asked  # torch and transformers start here

        request = batch.request(text, found, images.image)
        loading = own_module or model.loading(hub, weights=not weights.no_weights)
        saved, answers = _live(env, Asked(loading, request, o.feeding(decoding, own.mask)), silenced.head_mask)
    else:
        saved, answers = _read(path)
    if not saved.trace.calls:
        raise UsageError(f"{saved.trace.card.architecture} has no attention here", "'maskviz info' lists the layers")

    with PULSE.held():
        Explorer(saved, answers).run()


def _check_terminal(env: Env) -> None:
    """Refuse to start where nobody could see it, before a model is loaded.

    Raises:
        UsageError: there is no terminal, or the library that draws on it is not installed.
    """
    if not env.stdout.isatty():
        raise UsageError(
            "explore needs a terminal to draw on, and standard output is none here", "'maskviz show' writes to pipes"
        )
    if not env.stdin.isatty():
        raise UsageError("explore reads keys, and standard input is no terminal here", "give the text as an argument")
    if not env.stderr.isatty():
        said, hint = "explore draws on standard error, and that is no terminal here", "leave out 2>"
        print(f"maskviz: {said}: {hint}", file=env.stdout, flush=True)  # where somebody sees it
        raise UsageError(said, hint)
    for library in ("textual", "textual_image"):
        if find_spec(library) is None:
            raise UsageError(f"explore needs {library.replace('_', '-')}", "pip install 'maskviz[explore]'")


def _read(path: Path) -> tuple[Saved, Answers]:
    from maskviz.store.archive import read_npz

    return read_npz(path), _answers(None, "a saved run has no model to run again")


def _live(env: Env, asked: Asked, head_mask: str | None) -> tuple[Saved, Answers]:
    from maskviz.api.runs.own import OwnReady, rerun_of
    from maskviz.api.runs.traced import (
        ready_for,  # torch and transformers start here
        run_with,
        traced,
    )

    prepared = ready_for(env, asked)
    saved = traced(env, prepared, head_mask)
    if isinstance(prepared, OwnReady):
        return saved, _answers(rerun_of(env, prepared), "")
    if prepared.loaded.weightless:
        return saved, _answers(None, "without weights there are no numbers to change")
    plain, one_at_a_time = saved.before or saved.trace, Lock()

    def rerun(gates: HeadMask) -> Saved:
        with one_at_a_time:  # listening replaces functions of the whole process
            return run_with(prepared.loaded, prepared.encoded, plain, gates, prepared.calling)

    return saved, _answers(rerun, "")


def _answers(rerun: Callable[[HeadMask], Saved] | None, no_rerun: str) -> Answers:
    from maskviz.analyse.standing_out import standing_out
    from maskviz.analyse.why import explain
    from maskviz.core.results.why import Explanation, Place
    from maskviz.core.run.trace import AttentionCall, Trace
    from maskviz.explore.app import Answers

    def why(trace: Trace, call: AttentionCall, cell: tuple[int, int, int, int]) -> tuple[Explanation, ...]:
        row, head, query, key = cell
        return explain(trace, [call], Place(query + call.mask.query_offset, key), row, [head])

    return Answers(why, rerun, no_rerun, standing_out)
