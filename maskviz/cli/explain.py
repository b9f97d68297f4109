"""`maskviz explain`: why a query may attend to a key, or not, in words."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.files import checked, deliver
from maskviz.cli.own_module import OwnOptions
from maskviz.cli.parsing.groups import GivenOptions, Group
from maskviz.cli.saved_runs import mask_in_place, saved_run
from maskviz.core.errors import UsageError
from maskviz.core.words import Dialect, Stack

if TYPE_CHECKING:
    from maskviz.core.run.trace import Trace

Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="Texts of one padded batch. Or a run.npz of 'maskviz show', or a mask file."),
]


@dataclass(frozen=True, slots=True)
class PlaceOptions(Group):
    """The cell that is asked about."""

    PANEL: ClassVar[str] = "What to explain"
    at: Annotated[
        str,
        typer.Option("--at", metavar="Q,K", help="Query and key, 7,3; 7,* is a row, *,3 a column; -1 is the last."),
    ]
    layer: Annotated[
        str | None, typer.Option("--layer", metavar="LAYERS", help="Layers asked about, such as 0,2-4,-1.")
    ] = None
    head: Annotated[str | None, typer.Option("--head", metavar="HEADS", help="Heads asked about, such as 3,7.")] = None
    stack: Annotated[Stack | None, typer.Option("--stack", help="Only this attention of an encoder-decoder.")] = None
    text: Annotated[
        int | None, typer.Option("--text", min=1, help="Text of the batch that is asked about, from 1.")
    ] = None
    dialect: Annotated[
        Dialect | None, typer.Option("--as", help="How a mask file is to be read; default: by its shape.")
    ] = None
    title: Annotated[
        str | None, typer.Option("--title", metavar="TEXT", help="Title of the page; default: the text.")
    ] = None


# What goes with a saved run: nothing of how a run is made.
_OF_SAVED = frozenset({"texts", "at", "layer", "head", "stack", "text", "title", "output", "dpi", "style", "columns"})
_OF_MASKS = (_OF_SAVED | {"dialect"}) - {"layer", "stack"}


def explain(
    env: Env,
    typed: GivenOptions,
    place: PlaceOptions,
    model: o.ModelOptions,
    module: OwnOptions,
    weights: o.WeightOptions,
    hub: o.HubOptions,
    text: o.TextOptions,
    batch: o.BatchOptions,
    images: o.ImageOptions,
    decoding: o.DecodingOptions,
    own: o.MaskOptions,
    picture: o.PictureOptions,
    texts: Texts = None,
    file: o.File = None,
    output: o.PageOutput = None,
) -> None:
    """Say why a query may attend to a key or not, with the rule's numbers, and what would have to change."""
    paths, drawing = checked(output, (), file), picture.drawing()

    from maskviz.api.explain import MaskPlace, reason_in_mask, reason_in_run
    from maskviz.core.results.why import parse_place
    from maskviz.view.choosing import Choice

    if (alone := mask_in_place(typed, texts, _OF_MASKS)) is not None:
        where = MaskPlace(parse_place(place.at), place.text, place.head, place.title)
        deliver(env, reason_in_mask(alone, place.dialect, where), paths, drawing)
        return
    if place.dialect is not None:
        raise UsageError("--as is of a mask file, and none is given", "maskviz explain mask.npy --at 2,6 --as sdpa")
    cell = parse_place(place.at)
    choice = Choice(place.layer, place.head, place.stack, place.text, title=place.title)
    run = saved_run(typed, texts, _OF_SAVED)
    if run is not None:
        deliver(env, reason_in_run(_read(run), cell, choice), paths, drawing)
        return
    text.check_ids()
    own_module = module.own(env, typed, text)
    found = () if own_module is not None else text.read(env, texts, file, images.image)

    from maskviz.api.runs.traced import Asked, ready_for, traced  # torch and transformers start here

    loading = own_module or model.loading(hub, weights=not weights.no_weights)
    request = batch.request(text, found, images.image)
    trace = traced(env, ready_for(env, Asked(loading, request, o.feeding(decoding, own.mask)))).trace
    deliver(env, reason_in_run(trace, cell, choice), paths, drawing)


def _read(path: Path) -> Trace:
    from maskviz.store.archive import read_npz

    return read_npz(path).trace
