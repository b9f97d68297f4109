"""Options that several commands share, each written once."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from maskviz.core.words import Ablation, Backend, CacheKind, MaskedReading, Measure, Parallel, Scale, Stack, Style


class Side(StrEnum):
    """Side padding is put on."""

    LEFT = "left"
    RIGHT = "right"


class Positions(StrEnum):
    """Position ids passed to the model."""

    PLAIN = "plain"
    CUMSUM = "cumsum"


Texts = Annotated[
    list[str] | None,
    typer.Argument(metavar="TEXT", help="Texts; several form one padded batch. - reads standard input as one text."),
]
ModelName = Annotated[
    str, typer.Option("--model", "-m", help="Hub id, folder, config.json, .gguf file, or demo:bert, demo:gpt, demo:t5.")
]
NoWeights = Annotated[bool, typer.Option("--no-weights", help="Masks from the config alone; loads no weights.")]
RandomWeights = Annotated[
    int | None,
    typer.Option(
        "--random-weights", metavar="SEED", min=0, max=2**63 - 1, help="Random weights instead of the model's own."
    ),
]
TokenizerName = Annotated[
    str | None, typer.Option("--tokenizer", metavar="NAME", help="Tokenizer of another model; hub id or folder.")
]
Past = Annotated[
    int | None, typer.Option("--past", min=1, help="Feed this many tokens into the cache first; show the others.")
]
Step = Annotated[
    int | None, typer.Option("--step", min=1, help="Generate this many tokens greedily; show their rows too.")
]
Check = Annotated[
    bool,
    typer.Option("--check", help="Ask the run for every trap 'maskviz check' knows; exit code 5 where one is found."),
]
Prove = Annotated[
    bool, typer.Option("--prove", help="Check the masks against the model's behaviour; exit code 5 where they differ.")
]
Cache = Annotated[CacheKind, typer.Option("--cache", help="Cache of --past and --step.")]
Pairs = Annotated[list[str] | None, typer.Option("--pair", help="Second text of a row; once per text.")]
Targets = Annotated[
    list[str] | None, typer.Option("--target", help="Decoder text of an encoder-decoder; once per text.")
]
Ids = Annotated[
    list[str] | None,
    typer.Option("--ids", help='Token ids instead of a text, "5 17 3"; once per row, no special tokens added.'),
]
TargetIds = Annotated[list[str] | None, typer.Option("--target-ids", help="Decoder ids, as they are; once per row.")]
File = Annotated[Path | None, typer.Option("--file", help="Texts from a UTF-8 file, one per line.")]
MlmReading = Annotated[
    MaskedReading,
    typer.Option("--mlm-reading", help="Loss of a masked LM: each token masked in turn, or as it stands, visible."),
]
MlmSample = Annotated[
    int | None, typer.Option("--mlm-sample", min=1, help="Mask at most so many tokens of a text, drawn with --seed.")
]
Inputs = Annotated[
    Path | None,
    typer.Option("--inputs", help="The forward's own arguments, passed on as they are: .npz .safetensors .pt .json."),
]
PaddingSide = Annotated[
    Side | None, typer.Option("--padding-side", help="Default: the tokenizer's own; right without one.")
]
PadTo = Annotated[int | None, typer.Option("--pad-to", min=1, help="Pad every row to this many tokens.")]
MaxLength = Annotated[int | None, typer.Option("--max-length", min=1, help="Cut rows to this many tokens, and say so.")]
PositionIds = Annotated[
    Positions, typer.Option("--position-ids", help="cumsum counts real tokens, as generate() does; plain passes none.")
]
Images = Annotated[
    list[Path] | None,
    typer.Option("--image", metavar="FILE", help="Picture for the model's processor; once per text, or one for all."),
]
TokenTypes = Annotated[
    list[str] | None,
    typer.Option("--token-types", help='Types of a row\'s tokens, "0 0 1 1", such as prefix and suffix; once per row.'),
]
Packed = Annotated[bool, typer.Option("--packed", help="Texts share one row, positions restarting, no attention mask.")]
NoCache = Annotated[bool, typer.Option("--no-cache", help="Call the model with use_cache=False.")]
MaskFile = Annotated[
    Path | None,
    typer.Option(
        "--mask",
        metavar="FILE",
        help="Attention mask of your own, .npy .pt .safetensors: [batch, token] or [batch, head, query, key].",
    ),
]
HeadMaskText = Annotated[
    str | None,
    typer.Option(
        "--head-mask",
        metavar="SPEC",
        help='What-if: silence heads, "0:3,5; 2:*; 4:1=0.5; keep 6:1,2; kv:3.1", or @file.json / @file.npy, 1 keeps.',
    ),
]
BackendNames = Annotated[
    list[str] | None,
    typer.Option(
        "--attn",
        metavar="A,B",
        help=f"Also say what these backends would be handed, of {', '.join(Backend)}; "
        "on the page, not in .json and .npz.",
    ),
]
Layers = Annotated[str | None, typer.Option("--layer", metavar="LAYERS", help="Layers to draw, such as 0,2-4,-1.")]
Heads = Annotated[str | None, typer.Option("--head", metavar="HEADS", help="Heads to draw, such as 3,7.")]
StackName = Annotated[Stack | None, typer.Option("--stack", help="Only this attention of an encoder-decoder.")]
TextNumber = Annotated[int | None, typer.Option("--text", min=1, help="Draw this text of the batch only, from 1.")]
Pool = Annotated[
    int | None,
    typer.Option(
        "--pool",
        metavar="N",
        min=8,
        max=1024,
        help="Add attention up in N x N tiles per head, keeping no map whole; 128 where whole maps do not fit.",
    ),
]
Rows = Annotated[
    str | None,
    typer.Option("--rows", metavar="ROWS", help="Queries of a long run kept at full resolution, 100,2000-2010."),
]
RegionText = Annotated[
    str | None,
    typer.Option("--region", metavar="Q0:Q1,K0:K1", help="Only these queries and keys, such as 1000:1200,0:400."),
]
MaxMemory = Annotated[
    str | None,
    typer.Option(
        "--max-memory", metavar="SIZE", help="Memory attention may take, such as 8GB; default: 70% of what is free."
    ),
]
ScaleName = Annotated[
    Scale | None, typer.Option("--scale", help="Colour scale of attention; default: linear, log for long texts.")
]
Title = Annotated[str | None, typer.Option("--title", help="Title of the page; default: the text.")]
Dpi = Annotated[int, typer.Option("--dpi", min=30, max=1200, help="Resolution of PNG files.")]
StyleName = Annotated[
    Style, typer.Option("--style", help="screen; paper: as wide as a column, with one caption that has the facts.")
]
Columns = Annotated[
    int | None, typer.Option("--columns", min=1, max=2, help="Columns a figure of --style paper takes; default: 1.")
]
Output = Annotated[
    list[Path] | None,
    typer.Option("--output", "-o", help="File to write, by suffix .html .png .svg .pdf .txt .json .npz; repeatable."),
]
OutputPage = Annotated[
    list[Path] | None,
    typer.Option("--output", "-o", help="File to write, by suffix .png .svg .pdf .txt; repeatable."),
]
Device = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1, mps, xpu.")]
ParallelName = Annotated[
    Parallel | None,
    typer.Option(
        "--parallel",
        help="Spread a large model: auto over this machine's devices, tp over the processes torchrun started.",
    ),
]
Dtype = Annotated[str, typer.Option("--dtype", help="auto, float32, float16, bfloat16; auto is float32 on the CPU.")]
Revision = Annotated[str | None, typer.Option("--revision", help="Branch, tag or commit on the hub.")]
Offline = Annotated[bool, typer.Option("--offline", help="Use only what is on this machine.")]
Trust = Annotated[bool, typer.Option("--trust-remote-code", help="Let code that comes with the model run.")]


# What importance and prune share.
AblationName = Annotated[
    Ablation,
    typer.Option(
        "--ablation",
        help="What a silenced head puts out: nothing, its mean over the texts, its output on another text; "
        "frozen: nothing, while later attention is held as it was.",
    ),
]
MeasureName = Annotated[
    Measure | None,
    typer.Option("--measure", help="What is ranked by; default: the loss, or what the model's outputs allow."),
]
KeyHeads = Annotated[
    bool, typer.Option("--key-heads", help="Silence key heads, each with the query heads that read it.")
]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Seed of everything drawn at random.")]
DataOutput = Annotated[
    list[Path] | None,
    typer.Option("--output", "-o", help="File to write, by suffix .png .svg .pdf .txt .json; repeatable."),
]
