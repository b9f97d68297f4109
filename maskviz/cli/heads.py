"""`maskviz heads`: where every head looks, in numbers: statistics, roles, head means and rollout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from maskviz.api.together import OF_HEADS, refuse_together
from maskviz.cli import options as o
from maskviz.cli.env import Env, working_together
from maskviz.cli.files import checked, deliver
from maskviz.cli.own_module import OwnOptions
from maskviz.cli.parsing.groups import GivenOptions, Group
from maskviz.core.words import HeadStatistic


@dataclass(frozen=True, slots=True)
class ProbeOptions(Group):
    """Random tokens in place of a text."""

    PANEL: ClassVar[str] = "ProbeSize"
    probe: Annotated[
        bool,
        typer.Option("--probe", help="Measure on random tokens said twice, in place of a text (Olsson et al. 2022)."),
    ] = False
    probe_length: Annotated[int, typer.Option("--probe-length", min=5, help="Random tokens that are said twice.")] = 50
    probe_seeds: Annotated[int, typer.Option("--probe-seeds", min=1, max=1000, help="Different rows of them.")] = 4
    seed: o.Seed = 0


@dataclass(frozen=True, slots=True)
class ReadingOptions(Group):
    """What is read of heads."""

    PANEL: ClassVar[str] = "What to read"
    by: Annotated[HeadStatistic | None, typer.Option("--by", help="Statistic of the map and of the order.")] = None
    top: Annotated[int, typer.Option("--top", min=1, help="Heads in the ranked table.")] = 10
    mean: Annotated[bool, typer.Option("--mean", help="Draw the mean of each layer's heads.")] = False
    rollout: Annotated[
        bool, typer.Option("--rollout", help="Draw attention followed through the layers (Abnar & Zuidema 2020).")
    ] = False
    words: Annotated[
        bool, typer.Option("--words", help="Merge the tokens of a word: sum over keys, mean over queries.")
    ] = False
    no_sink: Annotated[
        bool,
        typer.Option("--no-sink", help="Leave out the first token and special tokens as keys; rows sum to 1 again."),
    ] = False


def heads(
    env: Env,
    typed: GivenOptions,
    model: o.ModelOptions,
    module: OwnOptions,
    spread: o.ParallelOptions,
    hub: o.HubOptions,
    text: o.TextOptions,
    batch: o.BatchOptions,
    past: o.CacheOptions,
    reading: ReadingOptions,
    probing: ProbeOptions,
    draw: o.ChoiceOptions,
    picture: o.PictureOptions,
    texts: o.Texts = None,
    file: o.File = None,
    output: o.DataOutput = None,
) -> None:
    """Measure where every head looks: entropy, sinks, neighbours, repeats, and the roles these make."""
    drawing = picture.drawing()
    refuse_together(typed.names, OF_HEADS)
    paths = checked(output, () if reading.mean or reading.rollout else (".json",), file)
    text.check_ids()  # what is wrong is said before torch is imported
    own_module = module.own(env, typed, text)
    found = () if probing.probe or own_module is not None else text.read(env, texts, file)

    from maskviz.api.heads import HeadsWanted, ProbeSize, heads_read  # torch and transformers start here
    from maskviz.api.runs.traced import Asked

    probe = ProbeSize(probing.probe_length, probing.probe_seeds, probing.seed) if probing.probe else None
    maps = reading.mean, reading.rollout
    wanted = HeadsWanted(reading.by, reading.top, probe, *maps, reading.words, reading.no_sink, draw.choice())
    with working_together(spread.parallel):
        request, loading = batch.request(text, found), own_module or model.loading(hub, parallel=spread.parallel)
        answer = heads_read(env, Asked(loading, request, o.feeding(past)), wanted)
    deliver(env, answer, paths, drawing)
