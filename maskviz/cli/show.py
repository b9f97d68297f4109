"""`maskviz show`: a text goes in, the masks and the attention of a real model come out."""

from __future__ import annotations

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.inputs import parse_backends, parse_ids, read_texts
from maskviz.cli.outputs import Drawing, checked, deliver
from maskviz.core.errors import ExitCode
from maskviz.core.words import CacheKind, Style


def show(
    ctx: typer.Context,
    texts: o.Texts = None,
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
    prove: o.Prove = False,
    check: o.Check = False,
    head_mask: o.HeadMaskText = None,
    attn: o.BackendNames = None,
    layer: o.Layers = None,
    head: o.Heads = None,
    pool: o.Pool = None,
    rows: o.Rows = None,
    region: o.RegionText = None,
    max_memory: o.MaxMemory = None,
    stack: o.StackName = None,
    text: o.TextNumber = None,
    scale: o.ScaleName = None,
    title: o.Title = None,
    output: o.Output = None,
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
    """Show which tokens each token may attend to, why not the others, and where every head looks."""
    options = locals()
    env: Env = ctx.obj
    paths = checked(output, (".html", ".json", ".npz"), file)
    drawing = Drawing(dpi, style, columns)
    parse_ids(ids, "--ids"), parse_ids(target_ids, "--target-ids")  # what is wrong is said before torch is imported
    backends = parse_backends(attn)
    found = read_texts(env, texts, file, ids, image, inputs)

    from maskviz.api.runs.handover import Asked as Handed
    from maskviz.api.runs.handover import hand_over_of
    from maskviz.api.runs.long import long_options_of, long_traced
    from maskviz.api.runs.traced import encoded_for, loaded_by, proven, traced
    from maskviz.cli.asking import choice_of, feeding_of, loading_of, request_of  # torch and transformers start here
    from maskviz.cli.checked_run import checked_run, has_errors, uncheckable
    from maskviz.cli.pages import Asked, Run, chosen_part, data_writers, page_of
    from maskviz.cli.processes import working_together
    from maskviz.core.panels.page import Panel
    from maskviz.view.findings import findings_page
    from maskviz.view.masks.proof import proof_panels

    choice, long = choice_of(options), long_options_of(options)
    more: list[Panel] = []
    proof = found_traps = None
    uncheckable(options)
    with working_together(parallel):
        request, loading = request_of(options, found), loading_of(options)
        feeding = feeding_of(options, request)
        loaded = loaded_by(env, loading, request)
        encoded, calling = encoded_for(env, loaded, request, feeding)
        saved: Run | None = long_traced(env, loaded, encoded, calling, long)
        if saved is None:
            saved = whole = traced(env, loaded, encoded, head_mask, calling, long.most)
            for backend in backends:
                more += hand_over_of(env, Handed(backend, loaded, encoded, calling, whole.trace), choice)
            proof = proven(env, loaded, encoded, whole) if prove else None
            more += [] if proof is None else proof_panels(proof, whole.trace)
            found_traps = checked_run(env, loading, (loaded, encoded), whole) if check else None
    findings = [] if found_traps is None else findings_page(found_traps, {}).panels
    page = page_of(saved, chosen_part(choice, saved, region), env.command, [*findings, *more])
    deliver(env, page, paths, drawing, data_writers(saved, Asked(choice, env.command, found_traps, more)))
    if (proof is not None and not proof.proven) or (found_traps is not None and has_errors(found_traps)):
        raise typer.Exit(ExitCode.FINDING)
