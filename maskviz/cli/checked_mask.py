"""A mask file alone, asked for every chosen trap. Imports torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from maskviz.analyse.check import check, unasked
from maskviz.api.checking.array import given_array, guessed
from maskviz.conventions.packed import PACKED, packed_words
from maskviz.conventions.source import known
from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Checked
from maskviz.core.checks.given_array import GivenArray, Sizes
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Panel
from maskviz.core.results.converted import Converted, Written
from maskviz.core.rules.algebra import Opaque
from maskviz.core.rules.grammar import parse_rule
from maskviz.core.words import DTYPES, Severity
from maskviz.view.masks.conversion import mask_pictures

# A mask with more cells is not drawn beside its findings; 'maskviz convert' draws it.
_MOST_CELLS = 2**22


def checked_array(options: Mapping[str, Any], path: Path, chosen: tuple[str, ...]) -> tuple[Checked, tuple[Panel, ...]]:
    """Check a mask file alone, and draw it.

    Raises:
        UsageError: it cannot be read as its dialect, and no rule says why.
        NotFoundError: it cannot be read at all.
    """
    if options["dtype"] not in DTYPES:
        raise UsageError(f"dtype {options['dtype']!r} is not known", f"choose one of {', '.join(DTYPES)}")
    sizes = Sizes(*(options[name] for name in ("batch", "heads", "queries", "keys", "window")))
    dialect, notes = guessed(path, options["dialect"])
    array = given_array(path, dialect, sizes, "" if options["dtype"] == "auto" else options["dtype"])
    if dialect in PACKED and not array.unreadable:
        notes = (*packed_words(array.values, dialect), *notes)
    asked = (f"{path.name} as {dialect}", *(("the framework's own attention with it",) if array.trial else ()))
    case = Case(array=array, meant=None if options["meant"] is None else parse_rule(options["meant"]))
    findings = check(case, chosen)
    if array.unreadable:
        if all(one.severity is Severity.NOTE for one in check(case)):
            raise UsageError(array.unreadable, f"maskviz convert --list says what {dialect} is")
        notes = (*notes, f"it cannot be read as {dialect}: {array.unreadable}")
    checked = Checked(str(path), "", findings, asked, notes, str(path), unasked=unasked(case, chosen))
    return checked, _drawn(array)


def _drawn(array: GivenArray) -> tuple[Panel, ...]:
    """The mask as its dialect reads it."""
    visible = array.visible
    if visible is None or not visible.size or visible.size > _MOST_CELLS:
        return ()
    found = known(visible)
    rule, offset = (Opaque("unrecognised"), 0) if found is None else (found.rule, found.offset)
    written = Written(array.dialect, array.values.shape, array.dtype)
    return mask_pictures(Converted(array.name, written, None, visible, rule, offset))
