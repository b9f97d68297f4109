"""`maskviz diff`: two models, two backends, two saved runs or two mask files beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.files import checked, deliver, parse_backends
from maskviz.cli.parsing.groups import GivenOptions
from maskviz.cli.saved_runs import MASK_SUFFIXES
from maskviz.core.errors import ExitCode, UsageError
from maskviz.core.words import Backend, Dialect

if TYPE_CHECKING:
    from maskviz.api.diff import Difference
    from maskviz.view.choosing import Choice

Things = Annotated[
    list[str] | None, typer.Argument(metavar="TEXT", help="Texts; or two saved runs a.npz b.npz; or two mask files.")
]
Against = Annotated[
    str | None,
    typer.Option("--against", metavar="MODEL", help="The model that --model is beside.", rich_help_panel="Model"),
]
Backends = Annotated[
    list[str] | None,
    typer.Option("--attn", metavar="A,B", help="Two attention backends of one model, such as eager,sdpa."),
]
Dialects = Annotated[
    list[Dialect] | None,
    typer.Option("--as", help="How mask files are read: once for both, or once for each; default: by their shapes."),
]
TextNumber = Annotated[int | None, typer.Option("--text", min=1, help="Text of the batch that is drawn, from 1.")]
Title = Annotated[str | None, typer.Option("--title", metavar="TEXT", help="Title of the page; default: the text.")]
ExitWithCode = Annotated[bool, typer.Option("--exit-code", help="End with code 5 where a mask differs.")]

_RUN = ".npz"
# What goes with files: nothing of how a run is made.
_OF_FILES = frozenset({"things", "dialects", "text_number", "title", "output", "dpi", "exit_code"})
_HINT = "give --against MODEL, --attn eager,sdpa, two saved runs a.npz b.npz, or two mask files"


def diff(
    env: Env,
    typed: GivenOptions,
    model: o.ModelOptions,
    weights: o.WeightOptions,
    hub: o.HubOptions,
    text: o.TextOptions,
    batch: o.BatchOptions,
    past: o.PastOptions,
    own: o.MaskOptions,
    picture: o.PictureOptions,
    things: Things = None,
    file: o.File = None,
    against: Against = None,
    attn: Backends = None,
    dialects: Dialects = None,
    text_number: TextNumber = None,
    title: Title = None,
    output: o.DataOutput = None,
    exit_code: ExitWithCode = False,
) -> None:
    """Show the cells two masks or runs differ on, why, and what that does to attention and outputs."""
    paths, drawing = checked(output, (".json",), file), picture.drawing()
    files = _files(typed, things, against, attn, dialects)
    backends = None if attn is None else _two_backends(attn)

    from maskviz.view.choosing import Choice

    choice = Choice(text=text_number, title=title)
    if files is not None:
        found = _of_files(files, dialects, choice)
    else:
        text.check_ids()
        texts = text.read(env, things, file)

        from maskviz.api.diff import between_backends, between_models
        from maskviz.api.runs.traced import Asked  # torch and transformers start here

        request, fed = batch.request(text, texts), o.feeding(past, own.mask)
        one = Asked(model.loading(hub, weights=not weights.no_weights), request, fed)
        if backends is not None:
            found = between_backends(env, one, backends, choice)
        else:
            other = Asked(model.loading(hub, weights=not weights.no_weights, name=against), request, fed)
            found = between_models(env, (one, other), choice)
    deliver(env, found, paths, drawing)
    if exit_code and found:
        raise typer.Exit(ExitCode.FINDING)


def _of_files(files: tuple[Path, Path], dialects: list[Dialect] | None, choice: Choice) -> Difference:
    """Two saved runs, or two mask files as their dialects mean them; one dialect is for both."""
    from maskviz.api.diff import between_masks, between_runs

    if files[0].suffix == _RUN:
        return between_runs(files, choice)
    if dialects and len(dialects) > 2:
        raise UsageError(f"--as is given {len(dialects)} times for two masks", "once for both, or once for each")
    return between_masks(files, (dialects[0], dialects[-1]) if dialects else (None, None), choice)


def _files(
    typed: GivenOptions,
    things: list[str] | None,
    against: str | None,
    attn: list[str] | None,
    dialects: list[Dialect] | None,
) -> tuple[Path, Path] | None:
    """The two files that are named, or None where there are texts.

    Raises:
        UsageError: there is nothing to compare, or things that do not go together.
    """
    if against is not None and attn is not None:
        raise UsageError("--against and --attn are given together", "compare one thing at a time")
    if against is not None or attn is not None:
        if dialects:
            raise UsageError("--as is of mask files, and none are given", _HINT)
        return None
    paths = [Path(thing) for thing in things or ()]
    kinds = {_RUN if path.suffix == _RUN else "mask" if path.suffix in MASK_SUFFIXES else "text" for path in paths}
    if len(paths) != 2 or "text" in kinds:
        raise UsageError("there is nothing to compare with", _HINT)
    if len(kinds) > 1:
        raise UsageError("a saved run and a mask file are no two of a kind", _HINT)
    other = typed.besides(_OF_FILES)
    if other is not None:
        raise UsageError(f"--{other.replace('_', '-')} does not go with files", "they are compared as they are")
    if dialects and _RUN in kinds:
        raise UsageError("--as is of mask files, and saved runs are given", "leave it out")
    return paths[0], paths[1]


def _two_backends(values: list[str]) -> tuple[Backend, Backend]:
    found, given = parse_backends(values), ",".join(values)[:60]
    if len(found) != 2:
        twice = "one backend twice" if len(found) == 1 and "," in given else "no two backends"
        raise UsageError(f"--attn {given!r} is {twice}", f"give two of {', '.join(Backend)}: eager,sdpa")
    return found[0], found[1]
