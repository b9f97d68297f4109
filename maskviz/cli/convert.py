"""`maskviz convert`: one mask in the dialects of the frameworks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.files import checked, deliver, deliver_page, print_out
from maskviz.core.errors import UsageError
from maskviz.core.words import Dialect

if TYPE_CHECKING:
    from maskviz.api.convert import Conversion, HeadGates

File = Annotated[Path | None, typer.Argument(metavar="FILE", help="A mask, .npy .pt .safetensors.")]
From = Annotated[Dialect | None, typer.Option("--from", help="How it is to be read; default: by its shape.")]
To = Annotated[
    str | None,
    typer.Option("--to", metavar="DIALECT|python", help="What it becomes; python: the lines that build it for sdpa."),
]
Heads = Annotated[int | None, typer.Option("--heads", min=1, help="Heads, for a 3-D mask of nn.MultiheadAttention.")]
Queries = Annotated[int | None, typer.Option("--queries", min=1, help="Queries, where a mask says keys alone.")]
Keys = Annotated[int | None, typer.Option("--keys", min=1, help="Keys the mask must have.")]
Batch = Annotated[int | None, typer.Option("--batch", min=1, help="Rows, where a mask is the same for all.")]
Causal = Annotated[
    bool, typer.Option("--causal", help="Hide later keys too, which masks of tokens alone leave to the model.")
]
Layers = Annotated[int | None, typer.Option("--layers", min=1, help="Layers, for a head mask [head].")]
Dtype = Annotated[
    str, typer.Option("--dtype", metavar="TYPE", help="Type of the numbers; default: the dialect's usual one.")
]
Listed = Annotated[bool, typer.Option("--list", help="List the dialects and end.")]
MaskOutput = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        help="File to write: the mask .npy .pt .safetensors, a picture .png .svg .pdf .txt, "
        "code .py (python, flex), .json (head-mask); repeatable.",
        rich_help_panel="Output",
    ),
]


def convert(
    env: Env,
    picture: o.DpiOptions,
    file: File = None,
    source: From = None,
    to: To = None,
    heads: Heads = None,
    queries: Queries = None,
    keys: Keys = None,
    batch: Batch = None,
    causal: Causal = False,
    layers: Layers = None,
    dtype: Dtype = "",
    output: MaskOutput = None,
    listed: Listed = False,
) -> None:
    """Say a mask in the dialect of another framework; without -o, draw what it shows."""
    drawing = picture.drawing()
    if listed:
        from maskviz.core.checks.dialects import CONVENTIONS
        from maskviz.view.masks.conversion import conventions_page

        deliver_page(env, conventions_page(CONVENTIONS.values()), checked(output, ()), drawing)
        return
    if file is None or to is None:
        raise UsageError(
            "a mask file and --to are needed", "maskviz convert mask.npy --from hf-2d --to sdpa -o sdpa.npy"
        )

    from maskviz.api.convert import ConvertWanted, converted, suffixes_of, target_of
    from maskviz.core.checks.case import Sizes

    target = target_of(to)
    paths = checked(output, suffixes_of(target), file)
    sizes = Sizes(batch, heads, queries, keys)
    answer = converted(file, ConvertWanted(target, source, sizes, dtype, layers, causal))
    if answer.array is None:  # code goes to standard output, and what there is to know of it beside it
        _say(env, answer)
        if not paths:
            print_out(env, str(answer))
            return
    deliver(env, answer, paths, drawing, glanced=False)
    if paths and answer.array is not None and not env.quiet:
        _say(env, answer)


def _say(env: Env, answer: Conversion | HeadGates) -> None:
    for note in answer.notes:
        env.say(note)
