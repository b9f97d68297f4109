"""`maskviz info`: a model's card and what its layers do, from its config alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from maskviz.cli import options as o
from maskviz.cli.env import Env
from maskviz.cli.outputs import Drawing, checked, deliver
from maskviz.core.errors import CannotTraceError

if TYPE_CHECKING:
    from maskviz.api.models.layers import LayerRun
    from maskviz.core.panels.page import Panel

Name = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="Hub id, folder, config.json, .gguf file, or demo:NAME."),
]
# Squares of this side are compared in seconds.
_LONGEST = 4096
Length = Annotated[
    int | None,
    typer.Option(
        "--length", metavar="N", min=1, max=_LONGEST, help="Also say whose masks look the same for N real tokens."
    ),
]


def info(
    ctx: typer.Context,
    model: Name = "demo:bert",
    length: Length = None,
    output: o.OutputPage = None,
    dpi: o.Dpi = 150,
    revision: o.Revision = None,
    offline: o.Offline = False,
    trust_remote_code: o.Trust = False,
) -> None:
    """Show a model's type, heads, and the attention rule of every layer; loads no weights."""
    env: Env = ctx.obj
    paths = checked(output, ())

    from maskviz.api.models.layers import layers_of
    from maskviz.api.running import left_out
    from maskviz.load.models.card import card_of
    from maskviz.load.models.classes import architecture_of
    from maskviz.load.models.model import build_model, read_config
    from maskviz.load.models.source import resolve
    from maskviz.view.card import info_page, info_page_unrun

    source = resolve(model, revision=revision, offline=offline, trust=trust_remote_code)
    config, raw = read_config(source)
    card = card_of(config, model, architecture_of(source, config))
    env.say_releases()
    env.progress(f"running {card.architecture} without its weights ...")
    loaded = None
    try:
        loaded = build_model(source, config, tokenizer=False)
        card = replace(card, architecture=loaded.card.architecture)
        ran = layers_of(loaded, source, config, raw)
    except CannotTraceError as error:
        deliver(env, info_page_unrun(card, error.message, () if loaded is None else loaded.notes), paths, Drawing(dpi))
        if loaded is None:  # there is no such model
            raise
        return
    notes = (*loaded.notes, *left_out(loaded.model))
    page = info_page(card, ran.trace, (ran.unused, ran.beyond, ran.unused_because), _compared(ran, length), notes)
    deliver(env, page, paths, Drawing(dpi))


def _compared(ran: LayerRun, length: int | None) -> list[Panel]:
    """Whose masks look the same, where that is asked for and can be told."""
    if length is None:
        return []
    from maskviz.analyse.likeness import NotComparableError, look_alikes, mask_set
    from maskviz.core.panels.page import Note, Tone
    from maskviz.core.results.results import Likeness
    from maskviz.store.catalogue import read_catalogue
    from maskviz.view.masks.layers import likeness_panels

    known = read_catalogue()
    try:
        alike = look_alikes(mask_set(ran.trace, ran.until), known.entries, length)
    except NotComparableError as error:
        return [Note(f"Its masks are not compared with those of other models: {error}.", Tone.WARNING)]
    return likeness_panels(Likeness(length, alike, len(known.entries), known.release))
