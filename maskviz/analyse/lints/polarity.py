"""Rules about what the numbers of a mask file mean: polarity and type."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.analyse.lints.found import found, leak_of, not_numbers_of
from maskviz.core.arrays import BoolArray
from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Confidence, Finding
from maskviz.core.checks.given_array import GivenArray
from maskviz.core.checks.lint import Lint, Need
from maskviz.core.checks.meant import ones_and_zeros, upside_down_padding
from maskviz.core.words import Dialect


def inverted(case: Case) -> Iterator[Finding]:
    """T1: a mask that shows only what comes later, or, upside down, is the mask of its batch or a causal one."""
    array = case.array
    if array is None or array.visible is None or array.dialect in (Dialect.HEAD_MASK, Dialect.WEIGHTS):
        return
    visible = array.visible
    if (keep := _keep_of(case)) is not None and visible.shape[2] == 1:
        if hides_its_text(case):
            yield found("T1", array.name, "it keeps the padding of the batch, and hides its text")
        return
    if keep is None and hides_its_text(case):
        yield found("T1", array.name, _of_padding(array), measured=not_numbers_of(array), confidence=Confidence.LIKELY)
        return
    if ones_and_zeros(array) or visible.shape[2] < 2 or visible.shape[3] < visible.shape[2]:
        return
    future = _future(visible)
    if visible.any() and not (visible & ~future).any():
        shown = f"all {int(visible.any(axis=(0, 1)).sum())} cells it shows are later tokens, none is the query's own"
        yield found("T1", array.name, shown, measured=not_numbers_of(array))
    elif _causal_with_padding(~visible, future):
        message = "no query sees itself, and upside down it is a causal mask"
        if _diagonal(visible).any():
            message = "its queries see all that is later and not themselves, and upside down it is a causal mask"
        yield found("T1", array.name, message, measured=not_numbers_of(array), confidence=Confidence.LIKELY)


def hides_its_text(case: Case) -> bool:
    """Whether a mask of padding is the padding of its batch upside down, or by its shape that of another."""
    array = case.array
    if array is None or array.visible is None:
        return False
    if (keep := _keep_of(case)) is None:
        return upside_down_padding(array)
    own = array.visible[:, 0, 0]
    return array.visible.shape[2] == 1 and own.shape == keep.shape and not keep.all() and bool((own == ~keep).all())


def _of_padding(array: GivenArray) -> str:
    """What is seen of a mask of padding that is upside down, and how it is turned."""
    row = 0 if array.visible is None else int(array.visible[:, 0, 0].any(axis=1).argmin())
    kind = array.values.dtype.kind
    cure = "~mask" if kind == "b" else "1 - mask" if ((array.values == 0) | (array.values == 1)).all() else ""
    message = f"it is inverted: row {row + 1} keeps nothing and no row keeps all, and upside down each is a text"
    return message + " with its padding at one end" + (f": {cure}" if cure else "")


def _causal_with_padding(visible: BoolArray, future: BoolArray) -> bool:
    """Whether nothing later is seen, and every token that any query sees, two of a row at least, sees itself and not
    itself alone: tokens that none sees are padding."""
    queries, keys = visible.shape[2:]
    own: BoolArray = _diagonal(visible)
    by_key: BoolArray = np.asarray(visible.any(axis=2))
    seen = by_key[..., keys - queries :]
    return bool(
        not (visible & future).any()
        and (own == seen).all()
        and (own.sum(axis=-1) > 1).any()
        and visible.sum() > own.sum()
    )


def _keep_of(case: Case) -> BoolArray | None:
    """bool [batch, token], the padding of the batch in whose company the mask is given."""
    if case.run is not None:
        return case.run.trace.batch.keep
    if case.batch is None or not case.batch.keep or any(one is None for one in case.batch.keep):
        return None
    rows = [one for one in case.batch.keep if one is not None]
    return np.array(rows, np.bool_) if len({len(row) for row in rows}) == 1 else None


def _future(visible: BoolArray) -> BoolArray:
    """bool [query, key], True where a key comes after its query, the last query being the last key."""
    queries, keys = visible.shape[2:]
    return np.asarray(np.arange(keys)[None, :] > np.arange(queries)[:, None] + keys - queries)


def _diagonal(visible: BoolArray) -> BoolArray:
    """bool [batch, head, query], whether a query sees its own key."""
    queries, keys = visible.shape[2:]
    return np.asarray(visible[:, :, np.arange(queries), np.arange(queries) + keys - queries])


def ones_as_additive(case: Case) -> Iterator[Finding]:
    """T2: floats of 0 and 1 where numbers are added to the scores."""
    array = case.array
    if array is not None and array.values.dtype.kind == "f" and ones_and_zeros(array):
        share = float((array.values == 0).mean())
        message = f"its {array.dtype} numbers are all 0 or 1 ({share:.0%} of them 0), and {array.dialect} adds them"
        yield found("T2", array.name, message, measured=leak_of(array))


def bool_in_eager(case: Case) -> Iterator[Finding]:
    """T3: booleans where eager attention adds numbers."""
    array = case.array
    if array is not None and array.dialect is Dialect.HF_4D and array.values.dtype.kind == "b":
        yield found("T3", array.name, "it is boolean, and eager attention adds True as 1", measured=leak_of(array))


def whole_numbers(case: Case) -> Iterator[Finding]:
    """T4: whole numbers as a 4-D mask."""
    array = case.array
    if array is not None and array.dialect in (Dialect.HF_4D, Dialect.SDPA) and array.values.dtype.kind in "iu":
        refused = "" if array.trial is None or not array.trial.refused else f"torch says: {array.trial.refused}"
        message = f"it is {array.dtype}, which is neither boolean nor a float"
        yield found("T4", array.name, message, measured=refused or leak_of(array))


LINTS: tuple[Lint, ...] = (
    Lint("T1", inverted, (Need.ARRAY,)),
    Lint("T2", ones_as_additive, (Need.ARRAY,)),
    Lint("T3", bool_in_eager, (Need.ARRAY,)),
    Lint("T4", whole_numbers, (Need.ARRAY,)),
)
