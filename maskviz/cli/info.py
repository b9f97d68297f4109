"""`maskviz info`: a model's card and what its layers do, from its config alone."""

from __future__ import annotations

from typing import Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.files import checked, deliver

Name = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Hub id, folder, config.json, .gguf file, or demo:NAME."),
]
Length = Annotated[
    int | None,
    typer.Option(
        "--length", metavar="N", min=1, max=4096, help="Also say whose masks look the same for N real tokens."
    ),
]


def info(
    env: Env,
    hub: o.HubOptions,
    picture: o.DpiOptions,
    model: Name = "demo:bert",
    length: Length = None,
    output: o.PageOutput = None,
) -> None:
    """Show a model's type, heads, and the attention rule of every layer; loads no weights."""
    paths, drawing = checked(output, ()), picture.drawing()

    from maskviz.api.info import card_read

    found = card_read(env, hub.source(model), length)
    deliver(env, found, paths, drawing)
    if found.unknown is not None:
        raise found.unknown
