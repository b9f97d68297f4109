"""`maskviz mlm`: which tokens the training of a masked language model hides, drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.files import checked, deliver, read_texts
from maskviz.cli.parsing.groups import Group

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME",
        help="Where the tokenizer is from: hub id, folder, demo:bert. No model is run.",
        rich_help_panel="Model",
    ),
]
MaxLength = Annotated[
    int | None,
    typer.Option("--max-length", min=1, help="Cut rows to this many tokens, and say so.", rich_help_panel="Input"),
]


@dataclass(frozen=True, slots=True)
class SelectionOptions(Group):
    """How tokens are selected."""

    PANEL: ClassVar[str] = "What is hidden"
    seed: o.Seed = 0
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="N", min=1, max=100_000, help="Also count over N seeds, from --seed on."),
    ] = None
    probability: Annotated[
        float, typer.Option("--probability", min=0.0, max=1.0, help="Share of tokens that is selected.")
    ] = 0.15
    whole_word: Annotated[
        bool,
        typer.Option("--whole-word", help="Select all tokens of a word together; they all become the mask token."),
    ] = False


def mlm(
    env: Env,
    hub: o.HubOptions,
    selection: SelectionOptions,
    picture: o.PictureOptions,
    texts: o.Texts = None,
    model: Model = "demo:bert",
    file: o.File = None,
    max_length: MaxLength = None,
    output: o.PageOutput = None,
) -> None:
    """Show which tokens the 15% / 80-10-10 collator of BERT's training selects, and what it makes of them."""
    paths, drawing = checked(output, (), file), picture.drawing()
    found = read_texts(env, texts, file, None)

    from maskviz.api.mlm import SelectionWanted, selected

    how = selection.probability, selection.whole_word, max_length, selection.seed, selection.seeds
    deliver(env, selected(env, hub.source(model), found, SelectionWanted(*how)), paths, drawing)
