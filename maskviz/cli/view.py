"""`maskviz view`: a saved run drawn again, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.files import checked, deliver

Run = Annotated[Path, typer.Argument(metavar="RUN", help="An .npz written by 'maskviz show -o run.npz'.")]


def view(
    env: Env,
    run: Run,
    draw: o.ChoiceOptions,
    detail: o.DetailOptions,
    part: o.RegionOptions,
    picture: o.PictureOptions,
    output: o.Output = None,
) -> None:
    """Draw a saved run again; needs neither the model nor torch."""
    paths, drawing = checked(output, (".html", ".json", ".npz")), picture.drawing()

    from maskviz.api.shown import read_back_run

    deliver(env, read_back_run(run, detail.of(draw.choice()), part.region), paths, drawing)
