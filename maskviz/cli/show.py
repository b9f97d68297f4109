"""`maskviz show`: a text goes in, the masks and the attention of a real model come out."""

from __future__ import annotations

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.inputs import parse_ids, read_texts
from maskviz.cli.outputs import checked, deliver
from maskviz.core.words import Scale


def show(
    ctx: typer.Context,
    texts: o.Texts = None,
    model: o.ModelName = "demo:bert",
    pair: o.Pairs = None,
    target: o.Targets = None,
    ids: o.Ids = None,
    target_ids: o.TargetIds = None,
    file: o.File = None,
    padding_side: o.PaddingSide = None,
    pad_to: o.PadTo = None,
    max_length: o.MaxLength = None,
    position_ids: o.PositionIds = o.Positions.PLAIN,
    head_mask: o.HeadMaskText = None,
    layer: o.Layers = None,
    head: o.Heads = None,
    stack: o.StackName = None,
    text: o.TextNumber = None,
    scale: o.ScaleName = Scale.LINEAR,
    title: o.Title = None,
    output: o.Output = None,
    dpi: o.Dpi = 150,
    device: o.Device = "auto",
    dtype: o.Dtype = "auto",
    revision: o.Revision = None,
    offline: o.Offline = False,
    trust_remote_code: o.Trust = False,
) -> None:
    """Show which tokens each token may attend to, why not the others, and where every head looks."""
    env: Env = ctx.obj
    paths = checked(output, (".json", ".npz"))
    id_rows, target_rows = parse_ids(ids, "--ids"), parse_ids(target_ids, "--target-ids")
    found = read_texts(env, texts, file, ids)

    from maskviz.cli.pages import data_writers, page_of
    from maskviz.cli.tracing import loaded_and_encoded, traced  # torch and transformers start here
    from maskviz.load.encode import Request
    from maskviz.load.source import resolve
    from maskviz.view.show import Choice

    request = Request(
        texts=found,
        pairs=tuple(pair or ()),
        ids=id_rows,
        targets=tuple(target or ()),
        target_ids=target_rows,
        padding_side=padding_side,
        pad_to=pad_to,
        max_length=max_length,
        cumulative_positions=position_ids is o.Positions.CUMSUM,
    )
    source = resolve(model, revision=revision, offline=offline, trust=trust_remote_code)
    saved = traced(env, *loaded_and_encoded(env, source, request, device, dtype), head_mask)
    page = page_of(saved, Choice(layer, head, stack, text, scale, title), env.command)
    deliver(env, page, paths, dpi, data_writers(saved))
