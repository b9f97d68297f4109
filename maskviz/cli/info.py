"""`maskviz info`: a model's card, from its config alone."""

from __future__ import annotations

from typing import Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.outputs import checked, deliver

Name = Annotated[
    str, typer.Argument(metavar="MODEL", help="Hub id, folder, .gguf file, or demo:bert, demo:gpt, demo:t5.")
]


def info(
    ctx: typer.Context,
    model: Name = "demo:bert",
    output: o.Output = None,
    dpi: o.Dpi = 150,
    revision: o.Revision = None,
    offline: o.Offline = False,
    trust_remote_code: o.Trust = False,
) -> None:
    """Show a model's type, layers, heads and windows; loads no weights."""
    env: Env = ctx.obj
    paths = checked(output, ())

    from maskviz.load.card import card_of
    from maskviz.load.model import architecture_of, load_config
    from maskviz.load.source import resolve
    from maskviz.view.card import info_page

    source = resolve(model, revision=revision, offline=offline, trust=trust_remote_code)
    config = load_config(source)
    deliver(env, info_page(card_of(config, model, architecture_of(source, config))), paths, dpi)
