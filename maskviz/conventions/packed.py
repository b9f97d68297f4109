"""Packed texts: the number of the text each token belongs to, and the offsets of flash-attention's varlen kernels."""

from __future__ import annotations

import numpy as np

from maskviz.conventions.fitting import check_room, one_for_all
from maskviz.conventions.shapes import wrong_shape
from maskviz.core.arrays import AnyArray, BoolArray, IntArray
from maskviz.core.checks.dialects import CONVENTIONS
from maskviz.core.errors import UsageError
from maskviz.core.words import Dialect
from maskviz.core.writing import plural

PACKED = (Dialect.SEQUENCE_NUMBERS, Dialect.CU_SEQLENS)
# Rows, and texts of a row, that are listed by their lengths.
_ROWS, _TEXTS = 4, 12


def read_sequence_numbers(values: AnyArray) -> BoolArray:
    """visible bool [batch, 1, token, token]: tokens of one text see each other, padding sees and is seen by none.

    Raises:
        UsageError: another shape or type, or a number below 0.
    """
    numbers = numbers_in(values)
    check_room((*numbers.shape, numbers.shape[1]))
    own, other = numbers[:, None, :, None], numbers[:, None, None, :]
    return np.asarray((own == other) & (own > 0))


def numbers_in(values: AnyArray) -> IntArray:
    """int64 [batch, token] of sequence numbers; one axis is one row. Raises as `read_sequence_numbers`."""
    if values.ndim not in (1, 2):
        raise wrong_shape(values, Dialect.SEQUENCE_NUMBERS)
    _check_whole(values, Dialect.SEQUENCE_NUMBERS)
    if (values < 0).any():
        raise _wrong(Dialect.SEQUENCE_NUMBERS, f"has {int(values.min())}")
    rows: IntArray = np.atleast_2d(values).astype(np.int64)
    return rows


def read_offsets(values: AnyArray) -> BoolArray:
    """visible bool [1, 1, token, token] of the offsets of texts laid one behind the other.

    Raises:
        UsageError: another shape or type, or offsets that do not start at 0 and rise.
    """
    lengths = lengths_in(values)
    tokens = int(lengths.sum())
    check_room((1, 1, tokens, tokens))
    text = np.repeat(np.arange(len(lengths)), lengths)
    return np.asarray(text[:, None] == text)[None, None]


def lengths_in(values: AnyArray) -> IntArray:
    """int64 [text], tokens of each text. Raises as `read_offsets`."""
    if values.ndim != 1 or values.size < 2:
        raise wrong_shape(values, Dialect.CU_SEQLENS)
    _check_whole(values, Dialect.CU_SEQLENS)
    if fault := fault_of_offsets(values):
        raise _wrong(Dialect.CU_SEQLENS, fault)
    offsets: IntArray = values.astype(np.int64)
    return np.asarray(offsets[1:] - offsets[:-1])


def fault_of_offsets(values: AnyArray) -> str:
    """What is wrong with offsets [text + 1] by themselves, in words; "" where nothing is."""
    if values[0] != 0:
        return f"starts at {values[0]} and not at 0"
    falls = np.flatnonzero(values[1:] <= values[:-1])
    if len(falls):
        place = int(falls[0])
        return f"does not rise from {values[place]} at {place} to {values[place + 1]} at {place + 1}"
    return ""


def write_sequence_numbers(visible: BoolArray, dtype: str) -> AnyArray:
    """[batch, token], texts numbered from 1 in the order of the row; 1 everywhere of a mask of keys alone.

    Raises:
        UsageError: it says more than which tokens are of one text.
    """
    return _numbers_of(visible, Dialect.SEQUENCE_NUMBERS).astype(dtype)


def write_offsets(visible: BoolArray, dtype: str) -> AnyArray:
    """[text + 1]; of a mask of keys alone each row's kept tokens are a text, one row behind the other.

    Raises:
        UsageError: it has several rows, padding, a text in pieces or a row without text, or says more than which tokens
            are of one text.
    """
    numbers = _numbers_of(visible, Dialect.CU_SEQLENS)
    if visible.shape[2] == 1:
        lengths = (numbers > 0).sum(axis=1)
        if not lengths.all():
            raise _unsaid(f"row {int(lengths.argmin()) + 1} keeps no token", "leave the row out")
    else:
        if len(numbers) > 1:
            raise _unsaid(f"this mask has {len(numbers)} rows", "lay its rows one behind the other")
        if not numbers.all():
            raise _unsaid(f"token {int(numbers[0].argmin())} is padding", "take the padding out, as the kernels do")
        if (np.diff(numbers[0]) < 0).any():
            raise _unsaid(f"the text of token {int((np.diff(numbers[0]) < 0).argmax()) + 1} is in pieces", "")
        lengths = np.bincount(numbers[0])[1:]
    return np.concatenate([[0], np.cumsum(lengths)]).astype(dtype)


def texts_of(visible: BoolArray) -> IntArray | None:
    """The text each token belongs to, int64 [batch, token] from 1, 0 for padding, of a mask that says no more than
    that, or that and no later key; None of any other.

    Args:
        visible: bool [batch, 1, token, token].
    """
    both: BoolArray = visible[:, 0] | visible[:, 0].swapaxes(1, 2)
    kept = both[:, np.arange(both.shape[1]), np.arange(both.shape[1])]
    first = np.where(kept, both.argmax(axis=2), -1)
    # The first token of a text is the first that it sees: as many numbers as such tokens up to it.
    begins = first == np.arange(both.shape[1])
    numbers: IntArray = np.where(kept, np.take_along_axis(begins.cumsum(axis=1), np.maximum(first, 0), axis=1), 0)
    same = (numbers[:, :, None] == numbers[:, None, :]) & kept[:, :, None]
    if not (both == same).all() or not ((visible[:, 0] == same).all() or (visible[:, 0] == np.tril(same)).all()):
        return None
    return numbers


def packed_words(values: AnyArray, dialect: Dialect) -> tuple[str, ...]:
    """Sentences on the texts of an array in one of these dialects that can be read."""
    if dialect is Dialect.CU_SEQLENS:
        return (f"{_lengths_words(lengths_in(values))}",)
    rows = numbers_in(values)
    said = []
    for place, row in enumerate(rows[:_ROWS]):
        _, first, counts = np.unique(row[row > 0], return_index=True, return_counts=True)
        texts = counts[np.argsort(first)]
        padding = int((row == 0).sum())
        more = f", and {padding} of padding" if padding else ""
        said.append(f"{f'row {place + 1}: ' if len(rows) > 1 else ''}{_lengths_words(texts)}{more}")
    return (*said, *((f"and {len(rows) - _ROWS} more rows",) if len(rows) > _ROWS else ()))


def _lengths_words(lengths: IntArray) -> str:
    listed = ", ".join(map(str, lengths[:_TEXTS].tolist())) + (" ..." if len(lengths) > _TEXTS else "")
    return f"{plural(len(lengths), 'text')} of {listed} tokens" if len(lengths) else "no text"


def _numbers_of(visible: BoolArray, dialect: Dialect) -> IntArray:
    one_for_all(visible, dialect, "head")
    queries, keys = visible.shape[2:]
    if queries == 1:
        return visible[:, 0, 0].astype(np.int64)
    if queries != keys:
        raise UsageError(f"{dialect} has as many queries as keys, and this mask {queries} and {keys}", _HINT)
    numbers = texts_of(visible[:, :1])
    if numbers is None:
        raise UsageError(
            f"{dialect} says which tokens are of one text, and this mask says more: it is no square for each text",
            _HINT,
        )
    lower = np.flatnonzero((visible[:, 0] != visible[:, 0].swapaxes(1, 2)).any(axis=(1, 2)))
    if len(lower):
        raise UsageError(
            f"{dialect} says which tokens are of one text, and leaves it to the model or the kernel (causal=True) that "
            f"no query sees a later key, as in row {int(lower[0]) + 1}",
            _HINT,
        )
    return numbers


_HINT = "sdpa, hf-4d, flax and flex can say it"


def _check_whole(values: AnyArray, dialect: Dialect) -> None:
    if values.dtype.kind not in "iu":
        raise UsageError(f"{dialect} is of whole numbers, and this array is {values.dtype}", _meaning(dialect))


def _wrong(dialect: Dialect, what: str) -> UsageError:
    return UsageError(f"the array {what}, as {dialect} never does", _meaning(dialect))


def _unsaid(what: str, hint: str) -> UsageError:
    return UsageError(f"cu-seqlens lays whole texts one behind the other, and {what}", hint or _HINT)


def _meaning(dialect: Dialect) -> str:
    return f"{dialect}: {CONVENTIONS[dialect].meaning}"
