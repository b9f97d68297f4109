"""`maskviz mlm`: which tokens the training of a masked language model hides, drawn."""

from __future__ import annotations

from typing import Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.inputs import read_texts
from maskviz.cli.outputs import Drawing, checked, deliver
from maskviz.core.words import Style

Model = Annotated[
    str, typer.Option("--model", "-m", help="Where the tokenizer is from: hub id, folder, demo:bert. No model is run.")
]
Seeds = Annotated[
    int | None,
    typer.Option("--seeds", metavar="N", min=1, max=100_000, help="Also count over N seeds, from --seed on."),
]
Probability = Annotated[
    float, typer.Option("--probability", min=0.0, max=1.0, help="Share of tokens that is selected.")
]
WholeWord = Annotated[
    bool, typer.Option("--whole-word", help="Select all tokens of a word together; they all become the mask token.")
]


def mlm(
    ctx: typer.Context,
    texts: o.Texts = None,
    model: Model = "demo:bert",
    file: o.File = None,
    max_length: o.MaxLength = None,
    seed: o.Seed = 0,
    seeds: Seeds = None,
    probability: Probability = 0.15,
    whole_word: WholeWord = False,
    output: o.OutputPage = None,
    dpi: o.Dpi = 150,
    style: o.StyleName = Style.SCREEN,
    columns: o.Columns = None,
    revision: o.Revision = None,
    offline: o.Offline = False,
    trust_remote_code: o.Trust = False,
) -> None:
    """Show which tokens the 15% / 80-10-10 collator of BERT's training selects, and what it makes of them."""
    env: Env = ctx.obj
    paths = checked(output, (), file)
    drawing = Drawing(dpi, style, columns)
    found = read_texts(env, texts, file, None)

    from maskviz.analyse.mlm import drawn
    from maskviz.load.models.source import resolve
    from maskviz.load.texts.collate import collated, mlm_notes, recipe_of, training_batch, training_tokenizer
    from maskviz.view.mlm import mlm_page

    tokenizer = training_tokenizer(resolve(model, revision=revision, offline=offline, trust=trust_remote_code))
    training = training_batch(tokenizer, found, probability, whole_word, max_length)
    draws = None
    if seeds is not None:
        env.progress(f"drawing {seeds:,} times ...")
        draws = drawn(collated(training, one) for one in range(seed, seed + seeds))
    about = f"{model} · {type(tokenizer).__name__} · {len(tokenizer):,} tokens · mask token {tokenizer.mask_token}"
    notes = mlm_notes(training, seed)
    page = mlm_page(collated(training, seed), recipe_of(training), draws, notes, (about, env.command))
    deliver(env, page, paths, drawing)
