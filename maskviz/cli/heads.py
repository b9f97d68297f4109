"""`maskviz heads`: where every head looks, in numbers: statistics, roles, head means and rollout."""

from __future__ import annotations

from typing import Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.inputs import parse_ids, read_texts
from maskviz.cli.outputs import Drawing, checked, deliver
from maskviz.core.errors import UsageError
from maskviz.core.words import CacheKind, HeadStatistic, Style

By = Annotated[HeadStatistic | None, typer.Option("--by", help="Statistic of the map and of the order.")]
Top = Annotated[int, typer.Option("--top", min=1, help="Heads in the ranked table.")]
Probe = Annotated[
    bool, typer.Option("--probe", help="Measure on random tokens said twice, in place of a text (Olsson et al. 2022).")
]
ProbeLength = Annotated[int, typer.Option("--probe-length", min=5, help="Random tokens that are said twice.")]
ProbeSeeds = Annotated[int, typer.Option("--probe-seeds", min=1, max=1000, help="Different rows of them.")]
Means = Annotated[bool, typer.Option("--mean", help="Draw the mean of each layer's heads.")]
Rollout = Annotated[
    bool, typer.Option("--rollout", help="Draw attention followed through the layers (Abnar & Zuidema 2020).")
]
Words = Annotated[bool, typer.Option("--words", help="Merge the tokens of a word: sum over keys, mean over queries.")]
NoSink = Annotated[
    bool, typer.Option("--no-sink", help="Leave out the first token and special tokens as keys; rows sum to 1 again.")
]


def heads(
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
    padding_side: o.PaddingSide = None,
    pad_to: o.PadTo = None,
    max_length: o.MaxLength = None,
    position_ids: o.PositionIds = o.Positions.PLAIN,
    past: o.Past = None,
    cache: o.Cache = CacheKind.DYNAMIC,
    token_types: o.TokenTypes = None,
    packed: o.Packed = False,
    no_cache: o.NoCache = False,
    by: By = None,
    top: Top = 10,
    probe: Probe = False,
    probe_length: ProbeLength = 50,
    probe_seeds: ProbeSeeds = 4,
    seed: o.Seed = 0,
    mean: Means = False,
    rollout: Rollout = False,
    words: Words = False,
    no_sink: NoSink = False,
    layer: o.Layers = None,
    head: o.Heads = None,
    stack: o.StackName = None,
    text: o.TextNumber = None,
    scale: o.ScaleName = None,
    title: o.Title = None,
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
    """Measure where every head looks: entropy, sinks, neighbours, repeats, and the roles these make."""
    options = locals()
    env: Env = ctx.obj
    maps = mean or rollout
    drawing = Drawing(dpi, style, columns)
    check_together(options)
    paths = checked(output, () if maps else (".json",), file)
    parse_ids(ids, "--ids"), parse_ids(target_ids, "--target-ids")  # what is wrong is said before torch is imported
    found = () if probe else read_texts(env, texts, file, ids, inputs=inputs)

    from maskviz.cli.asking import choice_of  # torch and transformers start here
    from maskviz.cli.processes import working_together
    from maskviz.cli.reading_heads import maps_page_of, prepared, read_page, reading_json

    with working_together(parallel):
        ready = prepared(env, options, found)
    choice = choice_of(options)
    if maps:
        deliver(env, maps_page_of(ready, choice, env.command, rolled=rollout), paths, drawing)
        return
    statistic = by or (HeadStatistic.INDUCTION if probe else HeadStatistic.ENTROPY)
    page = read_page(ready, choice, (statistic, top), env.command)
    deliver(env, page, paths, drawing, {".json": lambda: reading_json(ready, env.command)})


def check_together(options: dict[str, object]) -> None:
    """Refuse options that do not go together.

    Raises:
        UsageError: two of them are given.
    """
    together = [
        ("--mean", "--rollout", "one draws each layer, the other all of them together"),
        *(("--probe", one, "the probe makes its own tokens") for one in _INPUT),
        *(("--words", one, "words are those of a text") for one in _WITHOUT_WORDS),
        ("--rollout", "--past", "it follows attention from the first token on"),
        *((maps, one, "it is of statistics") for maps in ("--mean", "--rollout") for one in ("--by", "--head")),
    ]
    for first, second, hint in together:
        if _given(options, first) and _given(options, second):
            raise UsageError(f"{first} and {second} are given together", hint)


_WITHOUT_WORDS = ("--ids", "--target-ids", "--past", "--packed", "--inputs")
_INPUT = (
    *("TEXT", "--file", "--ids", "--inputs", "--pair", "--target", "--target-ids", "--max-length", "--packed"),
    *("--past", "--words", "--token-types"),
)


def _given(options: dict[str, object], name: str) -> bool:
    value = options["texts" if name == "TEXT" else name.removeprefix("--").replace("-", "_")]
    return value not in (None, False, [])
