"""`maskviz view`: a saved run drawn again, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.outputs import Drawing, checked, deliver
from maskviz.core.words import Style

Run = Annotated[Path, typer.Argument(help="An .npz written by 'maskviz show -o run.npz'.")]


def view(
    ctx: typer.Context,
    run: Run,
    layer: o.Layers = None,
    head: o.Heads = None,
    stack: o.StackName = None,
    text: o.TextNumber = None,
    scale: o.ScaleName = None,
    region: o.RegionText = None,
    title: o.Title = None,
    output: o.Output = None,
    dpi: o.Dpi = 150,
    style: o.StyleName = Style.SCREEN,
    columns: o.Columns = None,
) -> None:
    """Draw a saved run again; needs neither the model nor torch."""
    env: Env = ctx.obj
    paths = checked(output, (".html", ".json", ".npz"))
    drawing = Drawing(dpi, style, columns)

    from maskviz.cli.pages import Asked, chosen_part, data_writers, page_of
    from maskviz.store.archive import read_run
    from maskviz.view.show import Choice

    saved = read_run(run)
    choice = chosen_part(Choice(layer, head, stack, text, scale, title), saved, region)
    page = page_of(saved, choice, env.command)
    deliver(env, page, paths, drawing, data_writers(saved, Asked(choice, env.command)))
