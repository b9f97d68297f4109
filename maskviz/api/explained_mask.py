"""Why a cell of a mask file is as it is: by the rule that explains all its cells, if one is known. Imports torch."""

from __future__ import annotations

from pathlib import Path

from maskviz.analyse.why import explain_mask
from maskviz.api.checking.array import guessed, visible_in
from maskviz.conventions.source import known
from maskviz.core.arrays import Content
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Page
from maskviz.core.results.why import Place
from maskviz.core.rules.kinds import UserMask
from maskviz.core.run.heads import parse_selection
from maskviz.core.run.masks import Mask
from maskviz.core.words import Dialect
from maskviz.view.why.page import mask_page


def explained_mask(
    path: Path, dialect: Dialect | None, asked: tuple[Place, int | None, str | None], title: str | None = None
) -> Page:
    """The page of an answer about a mask file.

    Args:
        path: A .npy, .pt or .safetensors file.
        dialect: How it is to be read; None to go by its shape.
        asked: The place, the row of the batch from 1 and the heads that are asked about.
        title: Instead of the file's name.

    Raises:
        UsageError: it cannot be read as that dialect, or has no such cell, row or head.
        NotFoundError: the file cannot be read.
        CannotTraceError: it has too many cells.
    """
    place, text, heads = asked
    dialect, notes = guessed(path, dialect)
    visible, words = visible_in(path, dialect)
    if text is not None and text > len(visible):
        raise UsageError(f"--text {text}: {path.name} has {len(visible)} rows", "rows are counted from 1")
    found = known(visible)
    rule, offset = (UserMask(Content(visible, bool)), 0) if found is None else (found.rule, found.offset)
    mask = Mask.explained(visible, rule, query_offset=offset)
    row = 0 if text is None else text - 1
    chosen = None if heads is None else parse_selection(heads, visible.shape[1], "head")
    if text is None and len(visible) > 1:
        notes = (f"Row 1 of {len(visible)} is asked about; --text N asks about another.", *notes)
    return mask_page((title or path.name, words), mask, explain_mask(mask, place, row, chosen), place, notes)
