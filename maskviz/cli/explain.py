"""`maskviz explain`: why a query may attend to a key, or not, in words."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.inputs import parse_ids, read_texts
from maskviz.cli.outputs import Drawing, checked, deliver
from maskviz.cli.saved_runs import mask_in_place, saved_run
from maskviz.core.errors import UsageError
from maskviz.core.words import CacheKind, Dialect, Style

if TYPE_CHECKING:
    from maskviz.core.run.trace import Trace

Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="Texts of one padded batch. Or a run.npz of 'maskviz show', or a mask file."),
]
At = Annotated[
    str, typer.Option("--at", metavar="Q,K", help="Query and key, 7,3; 7,* is a row, *,3 a column; -1 is the last.")
]
Layers = Annotated[str | None, typer.Option("--layer", metavar="LAYERS", help="Layers asked about, such as 0,2-4,-1.")]
Heads = Annotated[str | None, typer.Option("--head", metavar="HEADS", help="Heads asked about, such as 3,7.")]
As = Annotated[Dialect | None, typer.Option("--as", help="How a mask file is to be read; default: by its shape.")]
TextNumber = Annotated[int | None, typer.Option("--text", min=1, help="Text of the batch that is asked about, from 1.")]
# What goes with a saved run: nothing of how a run is made.
_OF_SAVED = {"texts", "at", "layer", "head", "stack", "text", "title", "output", "dpi", "style", "columns"}
_OF_MASKS = (_OF_SAVED | {"dialect"}) - {"layer", "stack"}


def explain(
    ctx: typer.Context,
    at: At,
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
    dialect: As = None,
    layer: Layers = None,
    head: Heads = None,
    stack: o.StackName = None,
    text: TextNumber = None,
    title: o.Title = None,
    output: o.OutputPage = None,
    dpi: o.Dpi = 150,
    style: o.StyleName = Style.SCREEN,
    columns: o.Columns = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    revision: o.Revision = None,
    offline: o.Offline = False,
    trust_remote_code: o.Trust = False,
) -> None:
    """Say why a query may attend to a key or not, with the rule's numbers, and what would have to change."""
    options = {**locals(), "scale": None, "prove": False, "parallel": None}
    env: Env = ctx.obj
    paths = checked(output, (), file)
    drawing = Drawing(dpi, style, columns)

    from maskviz.core.results.why import parse_place

    if (alone := mask_in_place(ctx, texts, _OF_MASKS)) is not None:
        from maskviz.api.explained_mask import explained_mask  # torch starts here

        deliver(env, explained_mask(alone, dialect, (parse_place(at), text, head), title), paths, drawing)
        return
    if dialect is not None:
        raise UsageError("--as is of a mask file, and none is given", "maskviz explain mask.npy --at 2,6 --as sdpa")

    from maskviz.analyse.why import explain as explained
    from maskviz.core.run.heads import parse_selection
    from maskviz.view.show import Choice, chosen_calls, chosen_text
    from maskviz.view.why.page import why_page

    place = parse_place(at)
    choice = Choice(layer, head, stack, text, title=title)
    saved = saved_run(ctx, texts, _OF_SAVED)
    trace = _run(env, options) if saved is None else _read(saved)
    calls = chosen_calls(trace, choice)
    if not calls:
        raise UsageError(f"{trace.card.architecture} has no attention here", "'maskviz info' lists the layers")
    row = 0 if text is None else chosen_text(trace.batch, text)
    heads = None if head is None else parse_selection(head, max(call.heads for call in calls), "head")
    answer = explained(trace, calls, place, row, heads)
    deliver(env, why_page(trace, answer, (place, row), choice, env.command), paths, drawing)


def _read(path: Path) -> Trace:
    from maskviz.store.archive import read_npz

    return read_npz(path).trace


def _run(env: Env, options: dict[str, Any]) -> Trace:
    parse_ids(options["ids"], "--ids"), parse_ids(options["target_ids"], "--target-ids")
    found = read_texts(env, options["texts"], options["file"], options["ids"], options["image"], options["inputs"])

    from maskviz.api.runs.traced import encoded_for, loaded_by, traced
    from maskviz.cli.asking import feeding_of, loading_of, request_of  # torch and transformers start here

    request, loading = request_of(options, found), loading_of(options)
    feeding = feeding_of(options, request)
    loaded = loaded_by(env, loading, request)
    encoded, calling = encoded_for(env, loaded, request, feeding)
    return traced(env, loaded, encoded, None, calling).trace
