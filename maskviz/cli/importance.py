"""`maskviz importance`: every head silenced, one after the other, and what that does."""

from __future__ import annotations

from typing import Annotated

import typer

from maskviz.api.together import refuse_slopes_beside
from maskviz.cli import options as o
from maskviz.cli.env import Env, working_together
from maskviz.cli.files import checked, deliver
from maskviz.core.words import Method

MethodName = Annotated[
    Method,
    typer.Option("--method", help="exact silences every head; gradient takes one backward pass a text."),
]
Normalise = Annotated[
    bool, typer.Option("--normalise", help="Divide each layer's scores by their L2 norm, as Michel et al. 2019 do.")
]
Top = Annotated[int, typer.Option("--top", min=1, help="Heads in the ranked bars.")]


def importance(
    env: Env,
    model: o.ModelOptions,
    spread: o.ParallelOptions,
    hub: o.HubOptions,
    text: o.TextOptions,
    silencing: o.SilencingOptions,
    picture: o.PictureOptions,
    texts: o.Texts = None,
    file: o.File = None,
    method: MethodName = Method.EXACT,
    normalise: Normalise = False,
    top: Top = 20,
    seed: o.Seed = 0,
    output: o.DataOutput = None,
) -> None:
    """Rank heads by what happens when each is silenced alone; texts go through the model one by one."""
    paths, drawing = checked(output, (".json",), file), picture.drawing()
    text.check_ids()  # what is wrong is said before torch is imported
    refuse_slopes_beside(method, silencing.measure, silencing.ablation)
    found = text.read(env, texts, file)

    from maskviz.api.importance import ImportanceWanted, heads_ranked  # torch and transformers start here

    silenced = silencing.ablation, silencing.measure, silencing.key_heads
    wanted = ImportanceWanted(method, *silenced, normalise, top, silencing.masking(seed))
    with working_together(spread.parallel) as share:
        loading = model.loading(hub, parallel=spread.parallel)
        answer = heads_ranked(env, o.asked(loading, text.request(found)), wanted, share)
    deliver(env, answer, paths, drawing)
