"""A saved run, or a mask file, in place of texts."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import typer

from maskviz.cli.check import MASK_SUFFIXES
from maskviz.core.errors import UsageError


def saved_run(ctx: typer.Context, texts: list[str] | None, beside: Container[str]) -> Path | None:
    """The saved run that is named in place of a text.

    Args:
        ctx: The command, with what was given to it.
        texts: Its texts.
        beside: Names of the parameters that go with a saved run.

    Raises:
        UsageError: something of how a run is made is given with it.
    """
    return _in_place(ctx, texts, (".npz",), beside, ("a saved run", "name the run alone", "it is as it was saved"))


def mask_in_place(ctx: typer.Context, texts: list[str] | None, beside: Container[str]) -> Path | None:
    """The mask file that is named in place of a text; the rest is as of a saved run."""
    words = ("a mask file alone", "name the file alone", "with -m, texts and --mask a model is run with it")
    return _in_place(ctx, texts, MASK_SUFFIXES, beside, words)


def _in_place(
    ctx: typer.Context,
    texts: list[str] | None,
    suffixes: tuple[str, ...],
    beside: Container[str],
    words: tuple[str, str, str],
) -> Path | None:
    """The file with one of these suffixes; `words` say what it is and what to do where something else is given too."""
    if not texts or not any(text.endswith(suffixes) for text in texts):
        return None
    what, alone, hint = words
    if len(texts) > 1:
        raise UsageError(f"{what} and other texts are given together", alone)
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if name not in beside and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--{name.replace('_', '-')} does not go with {what}", hint)
    return Path(texts[0])
