"""What a model is: its card, and the attention rule of every layer, from its config alone. Imports torch."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from typing import Any, TypedDict, Unpack

from maskviz.analyse.likeness import NotComparableError, look_alikes, mask_set
from maskviz.api.answer import Answer
from maskviz.api.models.layers import LayerRun, layers_of
from maskviz.api.runs.options import check_options
from maskviz.api.runs.traced import left_out
from maskviz.api.watcher import NOBODY, Watcher
from maskviz.core.errors import CannotTraceError
from maskviz.core.panels.page import Note, Page, Panel, Tone
from maskviz.core.results.results import Likeness
from maskviz.core.run.trace import ModelCard
from maskviz.load.models.card import architecture_of, card_of
from maskviz.load.models.model import build_model, read_config
from maskviz.load.models.source import Source, resolve
from maskviz.store.catalogue import read_catalogue
from maskviz.view.card import info_page, info_page_unrun
from maskviz.view.masks.layers import likeness_panels


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Card(Answer):
    """What a model is.

    Attributes:
        card: Its facts.
        ran: Its layers, as a run without weights has them; None where it could not be run.
        notes: What there is to know.
        alike: Whose masks look the same, as panels.
        problem: Why it could not be run, or None.
        built: Whether transformers has such a model at all.
    """

    card: ModelCard
    ran: LayerRun | None
    notes: tuple[str, ...] = ()
    alike: tuple[Panel, ...] = ()
    problem: CannotTraceError | None = None
    built: bool = True

    @property
    def unknown(self) -> CannotTraceError | None:
        """The error of a model that transformers has not, or None."""
        return None if self.built else self.problem

    def __repr__(self) -> str:
        return f"<Card of {self.card.name}: {self.card.architecture}, {sum(self.card.layers)} layers>"

    def page(self) -> Page:
        """The page that `maskviz info` prints."""
        if self.ran is None:
            assert self.problem is not None
            return info_page_unrun(self.card, self.problem.message, self.notes)
        said = (self.ran.unused, self.ran.beyond, self.ran.unused_because)
        return info_page(self.card, self.ran.trace, said, list(self.alike), self.notes)

    def to_dict(self) -> dict[str, Any]:
        """The facts, and the rule of every attention."""
        calls = () if self.ran is None else self.ran.trace.calls
        silent = () if self.ran is None else self.ran.trace.silent
        return {
            "kind": "model",
            "card": {name: one for name, one in asdict(self.card).items() if one not in (None, "", ())},
            "problem": None if self.problem is None else self.problem.message,
            "attentions": [
                {"stack": str(call.stack), "layer": call.layer, "heads": call.heads, "rule": str(call.mask.rule)}
                for call in calls
            ],
            "silent": [{"stack": str(one.stack), "layer": one.layer, "kind": one.kind} for one in silent],
            "unused": {} if self.ran is None else dict(self.ran.unused),
            "beyond": {} if self.ran is None else dict(self.ran.beyond),
            "notes": list(self.notes),
        }


class InfoKeywords(TypedDict, total=False):
    """What else `info` may be told.

    Attributes:
        length: Also say whose masks look the same for so many real tokens.
        revision, offline, trust_remote_code: Where the model is from.
    """

    length: int | None
    revision: str | None
    offline: bool
    trust_remote_code: bool


def info(model: str | os.PathLike[str], **options: Unpack[InfoKeywords]) -> Card:
    """Say a model's type, heads, and the attention rule of every layer; loads no weights.

    Args:
        model: A hub id, folder, `config.json`, `.gguf` file or `demo:bert`.
        **options: See `InfoKeywords`.

    Raises:
        NotFoundError: there is no such model.
        CannotTraceError: transformers has no such model.
        TypeError: an option there is not.
    """
    check_options("info", options, InfoKeywords)
    source = resolve(
        os.fspath(model),
        revision=options.get("revision"),
        offline=options.get("offline", False),
        trust=options.get("trust_remote_code", False),
    )
    found = card_read(NOBODY, source, options.get("length"))
    if found.unknown is not None:
        raise found.unknown
    return found


def card_read(watcher: Watcher, source: Source, length: int | None = None) -> Card:
    """What a model is, by a run without its weights.

    Raises:
        NotFoundError: there is no such config.
    """
    config, raw = read_config(source)
    card = card_of(config, source.name, architecture_of(source, config))
    watcher.say_releases()
    watcher.progress(f"running {card.architecture} without its weights ...")
    loaded = None
    try:
        loaded = build_model(source, config, tokenizer=False)
        card = replace(card, architecture=loaded.card.architecture)
        ran = layers_of(loaded, source, config, raw)
    except CannotTraceError as error:
        return Card(card, None, () if loaded is None else loaded.notes, (), error, loaded is not None)
    return Card(card, ran, (*loaded.notes, *left_out(loaded.model)), tuple(_compared(ran, length)))


def _compared(ran: LayerRun, length: int | None) -> list[Panel]:
    """Whose masks look the same, where that is asked for and can be told."""
    if length is None:
        return []
    known = read_catalogue()
    try:
        alike = look_alikes(mask_set(ran.trace, ran.until), known.entries, length)
    except NotComparableError as error:
        return [Note(f"Its masks are not compared with those of other models: {error}.", Tone.WARNING)]
    return likeness_panels(Likeness(length, alike, len(known.entries), known.release))
