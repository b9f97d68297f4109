"""Two masks, runs, models or backends beside each other: which cells differ, why, and what it does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Unpack

from maskviz.analyse.diff import compare_cells, compare_runs
from maskviz.api.answer import Answer, read_back
from maskviz.api.runs.options import RunKeywords, check_options, only, word
from maskviz.api.watcher import NOBODY, Watcher
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Page
from maskviz.core.results.diff import RunDiff
from maskviz.core.run.trace import Trace
from maskviz.core.words import Backend, Dialect
from maskviz.core.writing import parameter
from maskviz.store.archive import read_npz
from maskviz.store.diff import diff_json
from maskviz.view.choosing import Choice
from maskviz.view.diff import diff_page

if TYPE_CHECKING:
    import torch

    from maskviz.api.runs.options import Model, Text
    from maskviz.api.runs.traced import Asked
    from maskviz.core.arrays import AnyArray

    Thing = Trace | AnyArray | torch.Tensor | Model

RUN, MASKS = ".npz", (".npy", ".pt", ".safetensors")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Difference(Answer):
    """What differs between A and B; true where any cell does.

    Attributes:
        diff: Counts, reasons and changes.
        names: The printable token an id stands for.
        choice: The text that is drawn, and the title.
    """

    DATA: ClassVar[tuple[str, ...]] = (".json",)
    diff: RunDiff
    names: Mapping[int, str]
    choice: Choice

    def __bool__(self) -> bool:
        return self.diff.differs

    def __repr__(self) -> str:
        cells = "different" if self.diff.differs else "the same"
        return f"<Difference of {' and '.join(map(str, self.diff.names))}: {cells} cells>"

    def page(self) -> Page:
        """The page that `maskviz diff` prints."""
        return diff_page(self.diff, self.choice, lambda index: self.names.get(index, str(index)))

    def to_dict(self) -> dict[str, Any]:
        """The counts as `.json` holds them."""
        return read_back(self.data(".json"))

    def data(self, suffix: str, command: str = "") -> bytes:
        """Counts and sentences as `.json`."""
        del suffix, command
        return diff_json(self.diff)


class DiffKeywords(RunKeywords, total=False):
    """What else `diff` may be told, beside what is said of a run.

    Attributes:
        attn: Two attention backends of one model, such as ("eager", "sdpa"), in the place of `b`.
        dialect: How masks are read: one for both, or one for each; None to go by their shapes.
        text: Number of the text that is drawn, from 1.
        title: Of the page.
    """

    attn: Sequence[str] | None
    dialect: str | Sequence[str] | None
    text: int | None
    title: str | None


def diff(a: Thing, b: Thing | None = None, texts: Text = None, **options: Unpack[DiffKeywords]) -> Difference:
    """Show the cells two masks or runs differ on, why, and what that does to attention and outputs.

    Args:
        a, b: Two traces or saved runs; two masks as arrays or files; or two models, which are run on the texts.
        texts: For models, a text or several; for modules of your own, their inputs.
        **options: See `DiffKeywords` and `RunKeywords`.

    Returns:
        The difference: what differs makes it true.

    Raises:
        MaskvizError: what is asked for is not there, or does not go together.
        TypeError: an option there is not.
    """
    check_options("diff", options, DiffKeywords)
    choice = Choice(text=options.get("text"), title=options.get("title"))
    attn = options.get("attn")
    if attn is None and b is None:
        raise UsageError("there is nothing to compare with", "give a second one, or attn=('eager', 'sdpa')")
    if attn is None and texts is None and not any(name in options for name in ("ids", "inputs")):
        return _of_things(a, b, options, choice)
    from maskviz.api.runs.asking import asked_of  # torch and transformers start here
    from maskviz.load.models.model import volume_kept
    from maskviz.tracing.seam.replacing import alone

    own: RunKeywords = only(options, RunKeywords)
    with alone(), volume_kept():
        if attn is not None:
            if b is not None:
                raise UsageError("attn= and a second model are given together", "compare one thing at a time")
            return between_backends(NOBODY, asked_of(a, texts, own), two_backends(attn), choice)
        return between_models(NOBODY, (asked_of(a, texts, own), asked_of(b, texts, own)), choice)


def _of_things(a: Any, b: Any, options: DiffKeywords, choice: Choice) -> Difference:
    """Two runs, or two masks, of either kind."""
    dialect = options.get("dialect")
    own = (dialect, dialect) if dialect is None or isinstance(dialect, str) else tuple(dialect)
    if len(own) != 2:
        raise UsageError(f"there are {len(own)} dialects for two masks", "one for both, or one for each")
    runs = [_is_run(one) for one in (a, b)]
    if all(runs):
        if dialect is not None:
            raise UsageError("dialect= is of masks, and runs are given", "leave it out")
        return between_runs((a, b), choice)
    if any(runs) or not all(_is_mask(one) for one in (a, b)):
        raise UsageError("these are no two of a kind", "two runs, two masks, or two models and a text")
    from maskviz.api.runs.asking import mask_of  # torch starts here

    dialects = tuple(None if one is None else word(Dialect, one, "dialect") for one in own)
    return between_masks((mask_of(a), mask_of(b)), (dialects[0], dialects[1]), choice)


def _is_run(thing: Any) -> bool:
    return isinstance(thing, Trace) or (isinstance(thing, str | os.PathLike) and Path(thing).suffix == RUN)


def _is_mask(thing: Any) -> bool:
    return Path(thing).suffix in MASKS if isinstance(thing, str | os.PathLike) else hasattr(thing, "shape")


def two_backends(names: Sequence[str]) -> tuple[Backend, Backend]:
    """Two backends by their names.

    Raises:
        UsageError: they are not two, or there is no such one.
    """
    found = list(dict.fromkeys(word(Backend, name, "attention backend") for name in names))
    if len(found) != 2:
        raise UsageError(f"{parameter('attn')} names {len(found)} backends", f"give two of {', '.join(Backend)}")
    return found[0], found[1]


def between_runs(runs: tuple[Trace | str | os.PathLike[str], ...], choice: Choice) -> Difference:
    """Two runs, saved or at hand.

    Raises:
        NotFoundError: a file is missing, damaged or no saved run.
        UsageError: they are runs of different texts.
    """
    traces = [one if isinstance(one, Trace) else read_npz(Path(one)).trace for one in runs]
    names = [letter if isinstance(one, Trace) else str(one) for letter, one in zip("AB", runs, strict=True)]
    return Difference(compare_runs(traces[0], traces[1], (names[0], names[1])), {}, choice)


def between_masks(
    masks: tuple[Path | torch.Tensor | None, ...], dialects: tuple[Dialect | None, Dialect | None], choice: Choice
) -> Difference:
    """Two masks as their dialects mean them.

    Raises:
        UsageError: one cannot be read as its dialect, or they have different cells.
        NotFoundError: a file cannot be read.
    """
    from maskviz.api.checking.array import MaskNumbers, visible_in  # torch starts here

    visible, names = [], []
    for letter, mask, dialect in zip("AB", masks, dialects, strict=True):
        assert mask is not None
        cells, words = visible_in(MaskNumbers.of(mask), dialect)
        visible.append(cells)
        names.append(f"{mask if isinstance(mask, Path) else letter} ({words})")
    return Difference(compare_cells(visible[0], visible[1], (names[0], names[1])), {}, choice)


def between_models(watcher: Watcher, asked: tuple[Asked, Asked], choice: Choice) -> Difference:
    """The runs of two models on the same texts."""
    from maskviz.api.runs.compared import models_compared

    diff, names = models_compared(watcher, asked)
    return Difference(diff, names, choice)


def between_backends(watcher: Watcher, asked: Asked, backends: tuple[Backend, Backend], choice: Choice) -> Difference:
    """What two backends are handed in one run, and what the model puts out under each."""
    from maskviz.api.runs.compared import backends_compared

    return Difference(backends_compared(watcher, asked, backends), {}, choice)
