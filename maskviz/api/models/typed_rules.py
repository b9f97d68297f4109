"""A rule from the command line, with the documents and the padding it speaks of."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from maskviz.analyse.sparsity import cost_of_cells, mask_cost
from maskviz.core.arrays import Content
from maskviz.core.errors import NotFoundError, UsageError
from maskviz.core.results.results import HeadSize, Ruled, RuledLayers
from maskviz.core.rules.extents import Lengths
from maskviz.core.rules.grammar import parse_rule
from maskviz.core.rules.kinds import Document, Padding
from maskviz.core.writing import parameter
from maskviz.store.reading import LARGEST_TEXT, decoded


@dataclass(frozen=True, slots=True)
class TypedContents:
    """What rules may be about.

    Attributes:
        document: int64 [1, token], or None where no documents were given.
        keep: bool [1, token], or None where no padding was given.
    """

    document: Content | None
    keep: Content | None


def typed_contents(documents: str | None, padding: str | None, tokens: int) -> TypedContents:
    """Read lengths of documents and of padding for a text of `tokens` tokens.

    Raises:
        UsageError: they are no lengths, or longer than the text.
        NotFoundError: a file of lengths that cannot be read.
    """
    return TypedContents(
        None if documents is None else _documents(documents, tokens),
        None if padding is None else _keep(padding, tokens),
    )


def rule_of_words(words: str, contents: TypedContents, size: Lengths, heads: HeadSize | None) -> Ruled:
    """Read a rule and count what attention under it costs.

    Raises:
        UsageError: it is no rule, needs documents or padding that were not given, or does without those that were.
    """
    rule = parse_rule(words, contents.document, contents.keep)
    for content, kind, name in ((contents.document, Document, "document"), (contents.keep, Padding, "padding")):
        if content is not None and not any(isinstance(leaf, kind) for leaf in rule.leaves()):
            option = parameter("documents" if kind is Document else "padding")
            raise UsageError(f"{option} is given and the rule '{rule}' does without", f"'{rule} & {name}' obeys it")
    cost = mask_cost(rule, size) or cost_of_cells(rule, size)
    if cost is None:
        raise UsageError(
            f"the rule '{rule}' is not one run of keys for each query, and {size.queries:,} x {size.keys:,} cells are "
            "too many to ask one by one",
            f"fewer tokens, such as {parameter('length', 4096)}, show the same pattern",
        )
    return Ruled("", "", (RuledLayers("", 1, cost, heads),))


def _documents(text: str, tokens: int) -> Content:
    """The document each token belongs to, from their lengths in order; what is left over is one more."""
    if text.startswith("@"):
        text = _read(Path(text[1:]))
    words = [word for word in re.split(r"[\s,]+", text.strip()) if word]
    wrong = next((word for word in words if not re.fullmatch(r"[0-9]{1,9}", word) or int(word) == 0), None)
    if wrong is not None or not words:
        raise UsageError(
            f"{parameter('documents')} are lengths, not {wrong or text!r}", "such as 1000,5000: tokens of each document"
        )
    lengths = [int(word) for word in words]
    if sum(lengths) > tokens:
        raise UsageError(
            f"documents of {sum(lengths):,} tokens do not fit into {tokens:,}", "the last one's length may be left out"
        )
    lengths.append(tokens - sum(lengths))
    return Content(np.repeat(np.arange(len(lengths)), lengths)[None], np.int64)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(LARGEST_TEXT + 1)
    except OSError as error:
        raise NotFoundError(f"cannot read {str(path)!r}: {error.strerror}", "check the name") from error
    if len(raw) > LARGEST_TEXT:
        raise NotFoundError(f"{str(path)!r} has more than 10 MB", "a file of lengths has a number for each document")
    return decoded(raw, repr(str(path)))


def _keep(text: str, tokens: int) -> Content:
    """Which tokens are no padding, from `N` for the last N or `left:N` for the first."""
    found = re.fullmatch(r"(left:|right:)?([0-9]{1,9})", text)
    if found is None:
        raise UsageError(
            f"{parameter('padding')} is a number of tokens, not {text!r}",
            f"{parameter('padding', 100)}, or left:100 for the first 100",
        )
    count = int(found[2])
    if count >= tokens:
        raise UsageError(f"{count:,} tokens of padding leave nothing of {tokens:,}", "give fewer")
    place = np.arange(tokens)
    return Content((place >= count if found[1] == "left:" else place < tokens - count)[None], np.bool_)
