"""A saved run in place of texts."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path

import typer

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
    if not texts or not any(text.endswith(".npz") for text in texts):
        return None
    if len(texts) > 1:
        raise UsageError("a saved run and other texts are given together", "name the run alone")
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if name not in beside and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--{name.replace('_', '-')} does not go with a saved run", "it is as it was saved")
    return Path(texts[0])
