"""`maskviz mask`: the mask of a rule or of a model's layers at any length, without its square."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.files import checked, deliver
from maskviz.cli.parsing.groups import Group

_RULES = (
    "bidirectional, causal, window(N), band(N), ahead(N), chunk(N), block(N), prefix(N), diffusion(N, LENGTH), "
    "document, padding"
)

RuleText = Annotated[
    str | None, typer.Argument(metavar="RULE", help=f"Such as 'causal & window(4096) & document'. Known: {_RULES}.")
]
Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="The rules of this model's layers instead; hub id, folder, config.json.",
        rich_help_panel="Model",
    ),
]
Title = Annotated[
    str | None, typer.Option("--title", metavar="TEXT", help="Title of the page; default: the model, or the length.")
]


@dataclass(frozen=True, slots=True)
class SizeOptions(Group):
    """How many tokens, and what they are."""

    PANEL: ClassVar[str] = "Tokens"
    length: Annotated[
        int | None, typer.Option("--length", metavar="N", min=1, help="Tokens: as many queries as keys.")
    ] = None
    queries: Annotated[
        int | None, typer.Option("--queries", metavar="N", min=1, help="Only the last N tokens ask, behind a cache.")
    ] = None
    keys: Annotated[
        int | None, typer.Option("--keys", metavar="N", min=1, help="Keys, where they are not --length.")
    ] = None
    documents: Annotated[
        str | None,
        typer.Option(
            "--documents",
            metavar="LENGTHS|@FILE",
            help="Lengths of documents packed one after the other; the rest is one more.",
        ),
    ] = None
    padding: Annotated[
        str | None,
        typer.Option("--padding", metavar="N|left:N", help="The last N tokens are padding; left: the first."),
    ] = None


@dataclass(frozen=True, slots=True)
class HeadSizeOptions(Group):
    """What operations are counted for."""

    PANEL: ClassVar[str] = "Operations"
    heads: Annotated[int | None, typer.Option("--heads", min=1, help="Heads of a layer, to count operations.")] = None
    width: Annotated[int | None, typer.Option("--width", min=1, help="Width of a head, to count operations.")] = None


def mask(
    env: Env,
    size: SizeOptions,
    counted: HeadSizeOptions,
    hub: o.HubOptions,
    picture: o.PictureOptions,
    rule: RuleText = None,
    model: Model = None,
    title: Title = None,
    output: o.DataOutput = None,
) -> None:
    """Draw the mask of a rule, or of every layer of a model, for up to 10 million tokens, and count what it costs."""
    paths, drawing = checked(output, (".json",)), picture.drawing()

    from maskviz.api.mask import MaskWanted, symbolic

    tokens = size.length, size.queries, size.keys, size.documents, size.padding
    place = hub.revision, hub.offline, hub.trust_remote_code
    wanted = MaskWanted(rule, model, *tokens, counted.heads, counted.width, title, *place)
    deliver(env, symbolic(env, wanted), paths, drawing)
