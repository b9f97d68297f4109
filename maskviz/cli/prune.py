"""`maskviz prune`: more and more heads removed at once, and what is left written down."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.inputs import parse_ids, read_texts
from maskviz.cli.outputs import Drawing, checked, deliver
from maskviz.core.errors import MaskvizError, UsageError
from maskviz.core.words import Ablation, MaskedReading, Method, Style
from maskviz.store.files import check_writable, write_whole

# What the shell's users call the exact ranking.
_BY = {"importance": Method.EXACT, "gradient": Method.GRADIENT}
By = Annotated[
    str, typer.Option("--by", metavar="[importance|gradient]", help="What heads are ranked by: exactly, or by slopes.")
]
Step = Annotated[float, typer.Option("--step", min=0.001, max=1, help="Share of heads that goes at each step.")]
Rerank = Annotated[bool, typer.Option("--rerank", help="Rank the heads that are left anew at each step.")]
Orders = Annotated[int, typer.Option("--random", min=1, max=1000, help="Random orders to compare with.")]
Keep = Annotated[
    float | None, typer.Option("--keep", min=0, max=1, help="Choose the mask that keeps this share of the heads.")
]
Within = Annotated[
    float | None,
    typer.Option("--within", min=0, help="Choose the mask that removes most while the measure grows by no more."),
]
Save = Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Write the chosen mask, .json.")]
Export = Annotated[
    Path | None, typer.Option("--export", metavar="FOLDER", help="Write the model without the heads that go.")
]


def prune(
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
    by: By = "importance",
    step: Step = 0.1,
    rerank: Rerank = False,
    random: Orders = 5,
    ablation: o.AblationName = Ablation.ZERO,
    measure: o.MeasureName = None,
    key_heads: o.KeyHeads = False,
    seed: o.Seed = 0,
    mlm_reading: o.MlmReading = MaskedReading.MASKED,
    mlm_sample: o.MlmSample = None,
    keep: Keep = None,
    within: Within = None,
    save: Save = None,
    export: Export = None,
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
    """Draw what is lost against the share of heads removed, beside random orders; save or export what is left."""
    options = locals()
    env: Env = ctx.obj
    paths = checked(output, (".json",), file)
    drawing = Drawing(dpi, style, columns)
    parse_ids(ids, "--ids"), parse_ids(target_ids, "--target-ids")  # what is wrong is said before torch is imported
    _check(options)
    found = read_texts(env, texts, file, ids, inputs=inputs)

    from maskviz.ablate.export import check_folder
    from maskviz.cli.asking import loading_of  # torch and transformers start here
    from maskviz.cli.examining import Masking, examination_of, texts_request
    from maskviz.cli.processes import working_together
    from maskviz.cli.removing import Wanted, exported, pruned
    from maskviz.core.panels.page import Panel
    from maskviz.store.importance import head_mask_json, pruning_json
    from maskviz.view.heads.pruning import pruning_page

    if export is not None:
        check_folder(export)
    loading, request = loading_of({**options, "no_weights": False}), texts_request(options, found)
    wanted = Wanted(_BY[by], ablation, measure, step, random, rerank, key_heads, seed, keep, within)
    more: list[Panel] = []
    unwritten: MaskvizError | None = None
    masking = Masking(mlm_reading, mlm_sample, seed)
    with working_together(parallel) as share:
        examination = examination_of(env, loading, request, share, masking)
        result = pruned(examination, wanted, exporting=export is not None)
        if result.chosen is not None:
            more += examination.moved_maps(result.chosen.mask, "With the chosen heads removed")
        if result.chosen is not None and save is not None and env.leads:
            write_whole(save, head_mask_json(result.chosen.mask))
            env.say(f"wrote {save}")
        if result.chosen is not None and export is not None and env.leads:
            try:
                more += exported(examination, result.chosen, export, key_heads=key_heads)
            except MaskvizError as error:  # the curve is measured: it is shown before this is said
                unwritten = error
    card, names = examination.subject.trace.card, examination.names
    page = pruning_page(card, result, names, env.command, more)
    deliver(env, page, paths, drawing, {".json": lambda: pruning_json(result, card, names, env.command)})
    if unwritten is not None:
        raise unwritten


def _check(options: Mapping[str, Any]) -> None:
    """Refuse what does not go together, before torch is imported."""
    if options["by"] not in _BY:
        raise UsageError(f"--by {options['by']!r} is not known", f"choose one of {', '.join(_BY)}")
    if options["keep"] is not None and options["within"] is not None:
        raise UsageError("--keep and --within are given together", "give one or the other")
    written = [path for path in (*(options["output"] or ()), options["save"], options["export"]) if path is not None]
    if len({path.absolute() for path in written}) < len(written):
        raise UsageError("an output file is named twice", "give --save, --export and each -o a name of its own")
    chosen = options["keep"] is not None or options["within"] is not None
    for name in ("save", "export"):
        if options[name] is not None and not chosen:
            raise UsageError(f"--{name} writes a chosen mask, and none is asked for", "add --keep 0.6 or --within 0.05")
    if options["export"] is not None and options["ablation"] is not Ablation.ZERO:
        raise UsageError("--export removes heads, which is --ablation zero", "leave out --ablation")
    if options["export"] is not None and options["parallel"] is not None:
        raise UsageError("--export takes a model that is in one place", "leave out --parallel")
    if options["save"] is not None:
        if options["save"].suffix.lower() != ".json":
            raise UsageError(f"--save {str(options['save'])!r} is no .json", "name it such as mask.json")
        check_writable(options["save"])
