"""`maskviz convert`: one mask in the dialects of the frameworks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.outputs import Drawing, checked, deliver
from maskviz.core.errors import UsageError
from maskviz.core.words import Dialect

_FILES = (".npy", ".pt", ".safetensors")
_PYTHON = "python"

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
Dtype = Annotated[str, typer.Option("--dtype", help="Type of the numbers; default: the dialect's usual one.")]
Listed = Annotated[bool, typer.Option("--list", help="List the dialects and end.")]
MaskOutput = Annotated[
    list[Path] | None,
    typer.Option(
        "--output",
        "-o",
        help="File to write: the mask .npy .pt .safetensors, a picture .png .svg .pdf .txt, "
        "code .py (python, flex), .json (head-mask); repeatable.",
    ),
]


def convert(
    ctx: typer.Context,
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
    dpi: o.Dpi = 150,
    listed: Listed = False,
) -> None:
    """Say a mask in the dialect of another framework; without -o, draw what it shows."""
    env: Env = ctx.obj
    if listed:
        from maskviz.core.checks.dialects import CONVENTIONS
        from maskviz.view.masks.conversion import conventions_page

        deliver(env, conventions_page(CONVENTIONS.values()), checked(output, ()), Drawing(dpi))
        return
    if file is None or to is None:
        raise UsageError(
            "a mask file and --to are needed", "maskviz convert mask.npy --from hf-2d --to sdpa -o sdpa.npy"
        )
    target = _target(to)
    paths = checked(output, _suffixes(target), file)

    from maskviz.cli.converting import Asked, convert_heads, convert_mask
    from maskviz.core.checks.given_array import Sizes

    sizes = Sizes(batch, heads, queries, keys)
    asked = Asked(file, source, target, sizes, dtype, layers, causal)
    if Dialect.HEAD_MASK in (source, target):
        convert_heads(env, asked, paths, dpi)
    else:
        convert_mask(env, asked, paths, dpi)


def _target(to: str) -> Dialect | None:
    """The dialect asked for; None for Python."""
    if to == _PYTHON:
        return None
    if to not in list(Dialect) or to == Dialect.WEIGHTS:
        known = ", ".join(one for one in Dialect if one is not Dialect.WEIGHTS)
        raise UsageError(f"--to {to[:40]!r}: there is no such dialect to write", f"{known}, or {_PYTHON}")
    return Dialect(to)


def _suffixes(target: Dialect | None) -> tuple[str, ...]:
    """Suffixes of what a target is written to."""
    match target:
        case None:
            return (".py",)
        case Dialect.FLEX:
            return (*_FILES, ".py")
        case Dialect.HEAD_MASK:
            return (*_FILES, ".json")
    return _FILES
