"""`maskviz diff`: two models, two backends, two saved runs or two mask files beside each other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.inputs import parse_backends, parse_ids, read_texts
from maskviz.cli.outputs import Drawing, checked, deliver
from maskviz.core.errors import ExitCode, UsageError
from maskviz.core.words import Backend, CacheKind, Dialect, Style

if TYPE_CHECKING:
    from maskviz.core.results.diff import RunDiff

Things = Annotated[
    list[str] | None, typer.Argument(metavar="TEXT", help="Texts; or two saved runs a.npz b.npz; or two mask files.")
]
Against = Annotated[str | None, typer.Option("--against", metavar="MODEL", help="The model that --model is beside.")]
Backends = Annotated[
    list[str] | None,
    typer.Option("--attn", metavar="A,B", help="Two attention backends of one model, such as eager,sdpa."),
]
Dialects = Annotated[
    list[Dialect] | None,
    typer.Option("--as", help="How mask files are read: once for both, or once for each; default: by their shapes."),
]
TextNumber = Annotated[int | None, typer.Option("--text", min=1, help="Text of the batch that is drawn, from 1.")]
ExitWithCode = Annotated[bool, typer.Option("--exit-code", help="End with code 5 where a mask differs.")]

_RUN, _MASKS = ".npz", (".npy", ".pt", ".safetensors")
# What goes with files: nothing of how a run is made.
_OF_FILES = {"things", "dialects", "text", "title", "output", "dpi", "exit_code"}
_HINT = "give --against MODEL, --attn eager,sdpa, two saved runs a.npz b.npz, or two mask files"


def diff(
    ctx: typer.Context,
    things: Things = None,
    model: o.ModelName = "demo:bert",
    against: Against = None,
    attn: Backends = None,
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
    token_types: o.TokenTypes = None,
    packed: o.Packed = False,
    no_cache: o.NoCache = False,
    mask: o.MaskFile = None,
    dialects: Dialects = None,
    text: TextNumber = None,
    title: o.Title = None,
    output: o.DataOutput = None,
    dpi: o.Dpi = 150,
    style: o.StyleName = Style.SCREEN,
    columns: o.Columns = None,
    exit_code: ExitWithCode = False,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    revision: o.Revision = None,
    offline: o.Offline = False,
    trust_remote_code: o.Trust = False,
) -> None:
    """Show the cells two masks or runs differ on, why, and what that does to attention and outputs."""
    fixed = {"step": None, "image": None, "cache": CacheKind.DYNAMIC, "prove": False, "parallel": None}
    options: dict[str, Any] = {**locals(), **fixed}
    env: Env = ctx.obj
    paths = checked(output, (".json",), file)
    drawing = Drawing(dpi, style, columns)
    files = _files(ctx, things, against, attn, dialects)
    backends = None if attn is None else _two_backends(attn)

    from maskviz.store.diff import diff_json
    from maskviz.view.diff import diff_page
    from maskviz.view.heads.changes import Names
    from maskviz.view.show import Choice

    names: Names = str
    if files is not None:
        found = _of_runs(*files) if files[0].suffix == _RUN else _of_masks(*files, dialects)
    else:
        parse_ids(ids, "--ids"), parse_ids(target_ids, "--target-ids")
        texts = read_texts(env, things, file, ids, inputs=inputs)

        from maskviz.cli.differing import backends_differ, models_differ  # torch and transformers start here

        if backends is not None:
            found = backends_differ(env, options, texts, backends)
        else:
            found, names = models_differ(env, options, texts)
    page = diff_page(found, Choice(text=text, title=title), names, env.command)
    deliver(env, page, paths, drawing, {".json": lambda: diff_json(found)})
    if exit_code and found.differs:
        raise typer.Exit(ExitCode.FINDING)


def _files(
    ctx: typer.Context,
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
    kinds = {_RUN if path.suffix == _RUN else "mask" if path.suffix in _MASKS else "text" for path in paths}
    if len(paths) != 2 or "text" in kinds:
        raise UsageError("there is nothing to compare with", _HINT)
    if len(kinds) > 1:
        raise UsageError("a saved run and a mask file are no two of a kind", _HINT)
    for name in ctx.params:
        source = ctx.get_parameter_source(name)
        if name not in _OF_FILES and source is not None and source.name == "COMMANDLINE":
            raise UsageError(f"--{name.replace('_', '-')} does not go with files", "they are compared as they are")
    if dialects and _RUN in kinds:
        raise UsageError("--as is of mask files, and saved runs are given", "leave it out")
    return paths[0], paths[1]


def _two_backends(values: list[str]) -> tuple[Backend, Backend]:
    found, typed = parse_backends(values), ",".join(values)[:60]
    if len(found) != 2:
        twice = "one backend twice" if len(found) == 1 and "," in typed else "no two backends"
        raise UsageError(f"--attn {typed!r} is {twice}", f"give two of {', '.join(Backend)}: eager,sdpa")
    return found[0], found[1]


def _of_runs(a: Path, b: Path) -> RunDiff:
    from maskviz.analyse.diff import compare_runs
    from maskviz.store.archive import read_npz

    return compare_runs(read_npz(a).trace, read_npz(b).trace, (str(a), str(b)))


def _of_masks(a: Path, b: Path, dialects: list[Dialect] | None) -> RunDiff:
    """Two mask files as their dialects mean them; one dialect is for both."""
    from maskviz.analyse.diff import compare_cells
    from maskviz.api.checking.array import visible_in

    own = [None, None] if not dialects else [dialects[0], dialects[-1]]
    if dialects and len(dialects) > 2:
        raise UsageError(f"--as is given {len(dialects)} times for two masks", "once for both, or once for each")
    (ours, our_words), (theirs, their_words) = (visible_in(path, one) for path, one in zip((a, b), own, strict=True))
    return compare_cells(ours, theirs, (f"{a} ({our_words})", f"{b} ({their_words})"))
