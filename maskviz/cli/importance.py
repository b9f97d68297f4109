"""`maskviz importance`: every head silenced, one after the other, and what that does."""

from __future__ import annotations

from typing import Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.inputs import parse_ids, read_texts
from maskviz.cli.outputs import Drawing, checked, deliver
from maskviz.core.errors import UsageError
from maskviz.core.words import Ablation, MaskedReading, Method, Style

MethodName = Annotated[
    Method,
    typer.Option("--method", help="exact silences every head; gradient takes one backward pass a text."),
]
Normalise = Annotated[
    bool, typer.Option("--normalise", help="Divide each layer's scores by their L2 norm, as Michel et al. 2019 do.")
]
Top = Annotated[int, typer.Option("--top", min=1, help="Heads in the ranked bars.")]


def importance(
    ctx: typer.Context,
    texts: o.Texts = None,
    model: o.ModelName = "demo:bert",
    random_weights: o.RandomWeights = None,
    tokenizer: o.TokenizerName = None,
    pair: o.Pairs = None,
    target: o.Targets = None,
    ids: o.Ids = None,
    target_ids: o.TargetIds = None,
    inputs: o.Inputs = None,
    file: o.File = None,
    max_length: o.MaxLength = None,
    method: MethodName = Method.EXACT,
    ablation: o.AblationName = Ablation.ZERO,
    measure: o.MeasureName = None,
    key_heads: o.KeyHeads = False,
    normalise: Normalise = False,
    top: Top = 20,
    seed: o.Seed = 0,
    mlm_reading: o.MlmReading = MaskedReading.MASKED,
    mlm_sample: o.MlmSample = None,
    output: o.DataOutput = None,
    dpi: o.Dpi = 150,
    style: o.StyleName = Style.SCREEN,
    columns: o.Columns = None,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    parallel: o.ParallelName = None,
    revision: o.Revision = None,
    offline: o.Offline = False,
    trust_remote_code: o.Trust = False,
) -> None:
    """Rank heads by what happens when each is silenced alone; texts go through the model one by one."""
    options = locals()
    env: Env = ctx.obj
    paths = checked(output, (".json",), file)
    drawing = Drawing(dpi, style, columns)
    parse_ids(ids, "--ids"), parse_ids(target_ids, "--target-ids")  # what is wrong is said before torch is imported
    if method is Method.GRADIENT and (measure is not None or ablation is not Ablation.ZERO):
        raise UsageError(
            "--method gradient is the slope of the loss at open gates", "leave out --measure and --ablation"
        )
    found = read_texts(env, texts, file, ids, inputs=inputs)

    from maskviz.analyse.ranking import ranked
    from maskviz.cli.asking import loading_of  # torch and transformers start here
    from maskviz.cli.examining import Masking, examination_of, texts_request
    from maskviz.cli.processes import working_together
    from maskviz.cli.ranking import importance_of
    from maskviz.store.importance import importance_json
    from maskviz.view.heads.importance import importance_page

    loading, request = loading_of({**options, "no_weights": False}), texts_request(options, found)
    masking = Masking(mlm_reading, mlm_sample, seed)
    with working_together(parallel) as share:
        examination = examination_of(env, loading, request, share, masking)
        result = importance_of(examination, method, ablation, measure, key_heads=key_heads, seed=seed)
        ranking = ranked(result, normalise=normalise)
        more = examination.maps_without(result.sites[one] for one in ranking.order)
    card, names = examination.subject.trace.card, examination.names
    page = importance_page(card, ranking, names, env.command, more, top=top)
    deliver(env, page, paths, drawing, {".json": lambda: importance_json(result, card, names, env.command)})
