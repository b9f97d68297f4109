"""The mask of a rule, or of a model's layers, at any length and without its square, and what it costs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypedDict, Unpack

from maskviz.api.answer import Answer, read_back
from maskviz.api.models.typed_rules import rule_of_words, typed_contents
from maskviz.api.runs.options import check_options
from maskviz.api.watcher import NOBODY, Watcher
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Page
from maskviz.core.results.results import HeadSize, Ruled
from maskviz.core.rules.extents import Lengths
from maskviz.core.writing import either, parameter
from maskviz.store.costs import costs_json
from maskviz.view.masks.symbolic import symbolic_page

# A few seconds, and a few GB.
LONGEST = 10_000_000


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class SymbolicMask(Answer):
    """Masks as their rules say them, with what they cost.

    Attributes:
        ruled: The rules, their cells and blocks.
        title: Of the page; None for the model or the length.
    """

    DATA: ClassVar[tuple[str, ...]] = (".json",)
    ruled: Ruled
    title: str | None = None

    def __repr__(self) -> str:
        rules = "; ".join(str(layers.cost.rule) for layers in self.ruled.layers)
        size = self.ruled.layers[0].cost.size
        return f"<SymbolicMask: {rules}, {size.queries:,} x {size.keys:,}>"

    def page(self) -> Page:
        """The page that `maskviz mask` prints."""
        return symbolic_page(self.ruled, self.title)

    def to_dict(self) -> dict[str, Any]:
        """Cells, blocks and operations as `.json` holds them."""
        return read_back(self.data(".json"))

    def data(self, suffix: str, command: str = "") -> bytes:
        """Cells, blocks and operations as `.json`."""
        del suffix
        return costs_json(self.ruled, command)


@dataclass(frozen=True, slots=True)
class MaskWanted:
    """What is asked of a mask of a rule or of a model.

    Attributes:
        rule: The rule in words, or None.
        model: The model whose rules are wanted instead, or None.
        length: Tokens, as many queries as keys.
        queries, keys: Where they are not as many; the queries are the last tokens.
        documents: Lengths of documents, such as "1000,5000" or "@file".
        padding: How many of the last tokens are padding, such as "100"; "left:100" of the first.
        heads, width: Heads of a layer and the width of one, to count operations.
        title: Of the page.
        revision, offline, trust_remote_code: Where the model is from.
    """

    rule: str | None = None
    model: str | None = None
    length: int | None = None
    queries: int | None = None
    keys: int | None = None
    documents: str | None = None
    padding: str | None = None
    heads: int | None = None
    width: int | None = None
    title: str | None = None
    revision: str | None = None
    offline: bool = False
    trust_remote_code: bool = False

    def check(self) -> None:
        """Refuse what does not go together.

        Raises:
            UsageError: neither a rule nor a model, or what only one of them has.
        """
        heads, width = parameter("heads"), parameter("width")
        if (self.rule is None) == (self.model is None):
            raise UsageError(
                f"one of {either('rule=', 'RULE')} and {parameter('model')} is needed",
                either(
                    "maskviz.mask('causal & window(4096)', length=100_000)",
                    "maskviz mask 'causal & window(4096)' --length 100000",
                ),
            )
        if (self.heads is None) != (self.width is None):
            raise UsageError(f"{heads} and {width} go together", "give both to count operations")
        if self.model is not None and any((self.documents, self.padding, self.heads)):
            raise UsageError(
                f"{parameter('documents')}, {parameter('padding')}, {heads} and {width} go with a "
                f"{either('rule', 'RULE')}",
                "a model says its own",
            )

    def size(self) -> Lengths:
        """Queries and keys as asked for; the queries are the last tokens of the keys, as behind a cache.

        Raises:
            UsageError: they are not said, or too many.
        """
        queries, keys = self.queries or self.length, self.keys or self.length
        if queries is None or keys is None:
            both = f"{parameter('queries', 1)} {either('and ', '')}{parameter('keys', 100000)}"
            raise UsageError("how many tokens is not said", f"{parameter('length', 100000)}, or {both}")
        if max(queries, keys) > LONGEST:
            raise UsageError(
                f"{max(queries, keys):,} tokens are more than the {LONGEST:,} that are counted here",
                "patterns repeat: a shorter length shows the same",
            )
        return Lengths(queries, keys, offset=max(0, keys - queries))


class MaskKeywords(TypedDict, total=False):
    """What else `mask` may be told.

    Attributes:
        model: The rules of this model's layers in the place of a rule: a hub id, folder, `config.json`.
        length: Tokens: as many queries as keys.
        queries: Only the last so many tokens ask, as behind a cache.
        keys: Keys, where they are not `length`.
        documents: Lengths of documents packed one after the other; the rest is one more.
        padding: How many of the last tokens are padding; "left:100" of the first.
        heads, width: Heads of a layer and the width of one, to count operations.
        title: Of the page.
        revision, offline, trust_remote_code: Where the model is from.
    """

    model: str | os.PathLike[str] | None
    length: int | None
    queries: int | None
    keys: int | None
    documents: Sequence[int] | str | None
    padding: int | str | None
    heads: int | None
    width: int | None
    title: str | None
    revision: str | None
    offline: bool
    trust_remote_code: bool


def mask(rule: str | None = None, **options: Unpack[MaskKeywords]) -> SymbolicMask:
    """Draw the mask of a rule, or of every layer of a model, for up to 10 million tokens, and count what it costs.

    Args:
        rule: Such as "causal & window(4096) & document"; None for a model's.
        **options: See `MaskKeywords`.

    Raises:
        UsageError: it is no rule, or needs what is not given.
        NotFoundError: there is no such model.
        CannotTraceError: the model's rules cannot be told at this length.
        TypeError: an option there is not.
    """
    check_options("mask", options, MaskKeywords)
    documents, padding, model = options.get("documents"), options.get("padding"), options.get("model")
    if documents is not None and not isinstance(documents, str):
        documents = ",".join(map(str, documents))
    wanted = MaskWanted(
        rule,
        None if model is None else os.fspath(model),
        options.get("length"),
        options.get("queries"),
        options.get("keys"),
        documents,
        None if padding is None else str(padding),
        options.get("heads"),
        options.get("width"),
        options.get("title"),
        options.get("revision"),
        options.get("offline", False),
        options.get("trust_remote_code", False),
    )
    return symbolic(NOBODY, wanted)


def symbolic(watcher: Watcher, wanted: MaskWanted) -> SymbolicMask:
    """The mask that is wanted; raises as `mask`."""
    wanted.check()
    size = wanted.size()
    if wanted.model is None:
        contents = typed_contents(wanted.documents, wanted.padding, max(size.keys, size.offset + size.queries))
        heads = None if wanted.heads is None or wanted.width is None else HeadSize(wanted.heads, wanted.width)
        return SymbolicMask(rule_of_words(wanted.rule or "", contents, size, heads), wanted.title)
    from maskviz.api.models.rules import rules_of_model  # torch and transformers start here
    from maskviz.load.models.source import resolve

    name = wanted.model
    watcher.say_releases()
    watcher.progress(f"running {name} without its weights ...")
    source = resolve(name, revision=wanted.revision, offline=wanted.offline, trust=wanted.trust_remote_code)
    return SymbolicMask(rules_of_model(source, name, size), wanted.title)
