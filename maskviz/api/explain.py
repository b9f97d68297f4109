"""Why a query may attend to a key, or not, in words: of a run, or of a mask alone. Imports torch for masks."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack

from maskviz.analyse.why import explain as explained
from maskviz.analyse.why import explain_mask
from maskviz.api.answer import Answer
from maskviz.api.runs.options import check_options
from maskviz.api.shown import Numbers, selection
from maskviz.core.arrays import Content
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Page
from maskviz.core.results.why import Explanation, Place, Stretch
from maskviz.core.rules.kinds import UserMask
from maskviz.core.run.heads import parse_selection
from maskviz.core.run.trace import Mask, Trace
from maskviz.core.words import Dialect
from maskviz.core.writing import either, parameter
from maskviz.store.archive import read_npz
from maskviz.store.why import explanations_to_json, stretches_to_json
from maskviz.view.choosing import Choice, chosen_calls, chosen_text
from maskviz.view.why.page import mask_page, why_page

if TYPE_CHECKING:
    import torch

    from maskviz.core.arrays import AnyArray


class Because(Answer):
    """Why the cells of a place are visible or blocked."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ReasonInRun(Because):
    """Why the cells of a place are visible or blocked in a run.

    Attributes:
        trace: The run.
        place: The cell, row or column that is asked about.
        row: The text it is in, a row of the batch.
        choice: The layers and heads that are asked about.
        answers: The answer, by layers and heads.
    """

    trace: Trace
    place: Place
    row: int
    choice: Choice
    answers: tuple[Explanation, ...]

    def page(self) -> Page:
        """The page that `maskviz explain` prints."""
        return why_page(self.trace, self.answers, (self.place, self.row), self.choice)

    def to_dict(self) -> dict[str, Any]:
        """Which cells are visible, and by which parts of the rule the others are not."""
        return explanations_to_json(self.trace, self.place, self.row, self.answers)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ReasonInMask(Because):
    """Why the cells of a place are visible or blocked in a mask of no run.

    Attributes:
        name: Title, and the mask's dialect in words.
        mask: The mask.
        place: The cell, row or column that is asked about.
        answers: The answer, by heads.
        notes: What there is to know.
    """

    name: tuple[str, str]
    mask: Mask
    place: Place
    answers: tuple[tuple[tuple[int, ...], tuple[Stretch, ...]], ...]
    notes: tuple[str, ...]

    def page(self) -> Page:
        """The page that `maskviz explain` prints."""
        return mask_page(self.name, self.mask, self.answers, self.place, self.notes)

    def to_dict(self) -> dict[str, Any]:
        """Which cells are visible, and by which parts of the rule the others are not."""
        return stretches_to_json(self.name, self.mask, self.place, self.answers)


class ExplainKeywords(TypedDict, total=False):
    """What else `explain` may be told.

    Attributes:
        query: Number of the query's token, negative from the end; None for every query: a column.
        key: Number of the key's token; None for every key: a row.
        text: Which text of the batch, a row from 0.
        layer, head: A number, several, or a selection such as "0,2-4,-1"; None for all.
        stack: "encoder", "decoder" or "cross"; None for all.
        dialect: How a mask is to be read, such as "sdpa"; None to go by its shape.
        title: Of the page.
    """

    query: int | None
    key: int | None
    text: int | None
    layer: Numbers
    head: Numbers
    stack: str | None
    dialect: str | None
    title: str | None


def explain(
    what: Trace | AnyArray | torch.Tensor | str | os.PathLike[str], **options: Unpack[ExplainKeywords]
) -> Because:
    """Say why a query may attend to a key or not, with the rule's numbers, and what would have to change.

    Args:
        what: A trace, a mask, or the file of one of them.
        **options: The cell and more, see `ExplainKeywords`.

    Raises:
        UsageError: there is no such cell, text, layer or head, or the mask cannot be read.
        NotFoundError: the file cannot be read.
        TypeError: an option there is not.
    """
    check_options("explain", options, ExplainKeywords)
    for name in ("query", "key", "text"):
        value = options.get(name)
        if value is not None and (not isinstance(value, Integral) or (name == "text" and value < 0)):
            raise UsageError(f"{name}={value!r} is no number of one", "numbers count from 0")
    place = Place(options.get("query"), options.get("key"))
    if place.query is None and place.key is None:
        raise UsageError("neither a query nor a key is given", "query=7, key=3 is a cell; query=7 is a row")
    text, title = options.get("text"), options.get("title")
    text = None if text is None else text + 1
    if isinstance(what, str | os.PathLike) and Path(what).suffix == ".npz":
        what = read_npz(Path(what)).trace
    heads = selection(options.get("head"))
    if isinstance(what, Trace):
        if options.get("dialect") is not None:
            raise UsageError(f"{_dialect()} is of a mask, and a run is given", f"leave out {_dialect()}")
        layers = selection(options.get("layer"))
        return reason_in_run(what, place, Choice(layers, heads, options.get("stack"), text, title=title))
    from maskviz.api.runs.asking import mask_of
    from maskviz.api.runs.options import word

    dialect = options.get("dialect")
    mask = mask_of(what)
    assert mask is not None
    asked = MaskPlace(place, text, heads, title)
    return reason_in_mask(mask, None if dialect is None else word(Dialect, dialect, "dialect"), asked)


def reason_in_run(trace: Trace, place: Place, choice: Choice) -> ReasonInRun:
    """Why the cells of a place are visible or blocked in a run.

    Args:
        trace: The run.
        place: The cell, row or column.
        choice: The layers, heads, stack and text that are asked about.

    Raises:
        UsageError: there is no such cell, text, layer or head, or no attention.
    """
    calls = chosen_calls(trace, choice)
    if not calls:
        raise UsageError(f"{trace.card.architecture} has no attention here", "'maskviz info' lists the layers")
    row = 0 if choice.text is None else chosen_text(trace.batch, choice.text)
    heads = None
    if choice.heads is not None:
        heads = parse_selection(choice.heads, max(call.heads for call in calls), "head")
    return ReasonInRun(trace, place, row, choice, explained(trace, calls, place, row, heads))


@dataclass(frozen=True, slots=True)
class MaskPlace:
    """What is asked about a mask.

    Attributes:
        place: The cell, row or column.
        text: The row of the batch from 1, None for the first.
        heads: The heads, such as "0,2"; None for all.
        title: Instead of the mask's name.
    """

    place: Place
    text: int | None = None
    heads: str | None = None
    title: str | None = field(default=None)


def reason_in_mask(mask: Path | torch.Tensor, dialect: Dialect | None, asked: MaskPlace) -> ReasonInMask:
    """Why the cells of a place are visible or blocked in a mask, by the rule that explains all cells, if one is known.

    Args:
        mask: The mask, or the file of one.
        dialect: How it is to be read; None to go by its shape.
        asked: What is asked about.

    Raises:
        UsageError: it cannot be read as that dialect, or has no such cell, row or head.
        NotFoundError: the file cannot be read.
        CannotTraceError: it has too many cells.
    """
    from maskviz.api.checking.array import MaskNumbers, guessed, visible_in  # torch starts here
    from maskviz.conventions.source import known

    numbers = MaskNumbers.of(mask)
    dialect, notes = guessed(numbers, dialect)
    visible, words = visible_in(numbers, dialect)
    rows, text = len(visible), asked.text
    if text is not None and not 0 < text <= rows:
        number, counted = either(str(text - 1), str(text)), either("from 0", "from 1")
        raise UsageError(f"{parameter('text')} {number}: {numbers.name} has {rows} rows", f"rows are counted {counted}")
    found = known(visible)
    rule, offset = (UserMask(Content(visible, bool)), 0) if found is None else (found.rule, found.offset)
    whole = Mask.explained(visible, rule, query_offset=offset)
    row = 0 if text is None else text - 1
    chosen = None if asked.heads is None else parse_selection(asked.heads, visible.shape[1], "head")
    if text is None and rows > 1:
        notes = (f"Row 1 of {rows} is asked about; {either('text=N', '--text N')} asks about another.", *notes)
    answers: Sequence[Any] = explain_mask(whole, asked.place, row, chosen)
    return ReasonInMask((asked.title or numbers.name, words), whole, asked.place, tuple(answers), notes)


def _dialect() -> str:
    return parameter("dialect", shell="--as")
