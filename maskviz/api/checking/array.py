"""A mask file as it was given, and what dialect it is in where nobody said. Imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from maskviz.conventions.conversion import read
from maskviz.conventions.files import read_mask, values_of
from maskviz.conventions.fitting import RoomError
from maskviz.conventions.numbers import bias_of
from maskviz.conventions.trial import tried
from maskviz.core.arrays import AnyArray, BoolArray, IntArray
from maskviz.core.checks.case import GivenArray, Sizes
from maskviz.core.checks.dialects import BLOCKED, CONVENTIONS
from maskviz.core.checks.intended import at_one_end, upside_down_padding
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.rules.kinds import BlockCausal, BlockDiffusion, Prefix
from maskviz.core.rules.recognise import recognise
from maskviz.core.words import Dialect
from maskviz.core.writing import either, parameter

# Cells of [batch, query, key] that are compared one by one.
_MOST_CELLS = 2**29


@dataclass(frozen=True, slots=True, eq=False)
class MaskNumbers:
    """A mask before it is known how it is to be read.

    Attributes:
        name: The file's, or what it is called.
        values: Its numbers, 16-bit floats of torch widened to float32.
        stored: Name of its own type.
    """

    name: str
    values: AnyArray
    stored: str

    @classmethod
    def in_file(cls, path: Path) -> MaskNumbers:
        """The one mask of a .npy, .pt or .safetensors file; raises as `read_mask`."""
        return cls(path.name, *values_of(read_mask(path)))

    @classmethod
    def of(cls, array: Path | torch.Tensor, name: str = "the mask") -> MaskNumbers:
        """A mask that is at hand, or in a file."""
        return cls.in_file(array) if isinstance(array, Path) else cls(name, *values_of(array.detach().cpu()))


def given_array(path: Path, dialect: Dialect, sizes: Sizes, dtype: str) -> GivenArray:
    """A mask file read as its dialect means it, and tried on the dialect's framework.

    Args:
        path: A .npy, .pt or .safetensors file.
        dialect: How it is to be read; where it cannot be, the array says why.
        sizes: What it is to fit.
        dtype: The type the model computes in, "" if not known.

    Raises:
        UsageError: another suffix.
        NotFoundError: the file is missing or damaged, needs code, or does not hold one mask.
    """
    return array_of(MaskNumbers.in_file(path), dialect, sizes, dtype)


def array_of(mask: MaskNumbers, dialect: Dialect, sizes: Sizes, dtype: str) -> GivenArray:
    """The same for a mask that is at hand."""
    name, values, stored = mask.name, mask.values, mask.stored
    visible, unreadable = None, ""
    try:
        if dialect not in (Dialect.HEAD_MASK, Dialect.WEIGHTS):
            visible = read(values, dialect, sizes)
    except RoomError:
        pass  # what its numbers say is looked at without its cells
    except UsageError as error:
        unreadable = error.message
    array = GivenArray(name, values, stored, dialect, sizes, dtype, visible, unreadable)
    return tried(array)


def visible_in(mask: MaskNumbers, dialect: Dialect | None) -> tuple[BoolArray, str]:
    """Which cells a mask leaves visible, and its dialect in words.

    Returns:
        bool [batch or 1, head or 1, query, key], True = may attend; a mask that says keys alone has as many queries.

    Raises:
        UsageError: it cannot be read as that dialect, or is in none that can be told.
        CannotTraceError: it has more cells than are compared one by one.
    """
    chosen, _ = guessed(mask, dialect)
    values = mask.values
    visible = read(values, chosen, Sizes())
    if chosen in (Dialect.HF_2D, Dialect.TORCH_PADDING):
        keys = visible.shape[3]
        if visible.size * keys > _MOST_CELLS:
            raise CannotTraceError(f"{mask.name} has too many cells to be compared one by one", "cut it")
        visible = visible.repeat(keys, axis=2)
    bias = bias_of(values, chosen)
    added = "" if bias is None else f"; it also adds {bias[0]:g} to {bias[1]:g}, which is not compared"
    return visible, f"{chosen}: {CONVENTIONS[chosen].meaning}{added}"


def guessed(mask: MaskNumbers, dialect: Dialect | None, *, converting: bool = False) -> tuple[Dialect, tuple[str, ...]]:
    """The dialect of a mask, and sentences on how it was guessed; none where it was given.

    Args:
        mask: The mask.
        dialect: What it is said to be in; None to go by its shape and numbers.
        converting: Whether it is said what it is converted from.

    Raises:
        UsageError: it may be in several dialects; the hint names them.
    """
    if dialect is not None:
        return dialect, ()
    values, stored = mask.values, mask.stored

    def said(*value: str) -> str:
        name, option = ("source", "--from") if converting else ("dialect", "--as")
        return parameter(name, *value, shell=option)

    what = f"{mask.name} is {stored} {list(values.shape)}"
    found = list(_candidates(values))
    if len({one for one, _ in found}) != 1:
        named = " or ".join(one for one, _ in found)
        which = f"say which: {said(str(found[0][0]))}{_upside_down(values)}" if found else ""
        raise UsageError(
            f"{what}, and may be {named}" if found else f"{what}, which is like no known mask",
            which
            or either(
                "docs/concepts/conventions.md lists the dialects", "maskviz convert --list shows what each dialect has"
            ),
        )
    chosen, why = found[0]
    return chosen, (f"{what} and read as {chosen}, since {why}; {said()} says otherwise",)


def _candidates(values: AnyArray) -> Iterator[tuple[Dialect, str]]:
    """Dialects an array may be in, each with why."""
    if not values.size or values.dtype.kind not in "buif":
        return
    if values.dtype.kind == "f" and not ((values == 0) | (values == 1)).all():
        yield from _of_numbers(values)
    elif values.ndim in (1, 2) and values.dtype.kind in "iu" and (values > 1).any():
        yield from _of_texts(values)
    elif values.ndim == 4:
        boolean = values.dtype.kind != "f"
        yield (Dialect.SDPA, "it has four axes") if boolean else (Dialect.HF_4D, "it is float and has four axes")
        if not boolean and (values == 1).any():
            yield Dialect.FLAX, ""
    elif values.ndim == 2 and values.dtype.kind != "b" and not (_square(values) and _triangular(values != 0)):
        yield Dialect.HF_2D, "it has two axes of zeros and ones"
        if values.dtype.kind == "f" and not values.any():
            yield Dialect.TORCH_MHA_FLOAT, ""
    elif values.ndim in (2, 3):
        yield from _of_cells(values)
    elif values.ndim == 1:
        yield Dialect.HEAD_MASK, "it has one axis"


def _of_texts(values: AnyArray) -> Iterator[tuple[Dialect, str]]:
    """Whole numbers, some above 1, of one or two axes."""
    rows = np.atleast_2d(values).astype(np.int64)
    # Padding aside, numbers of texts never fall within a row; before the first text there may be padding too.
    falls = np.maximum.accumulate(rows, axis=1) > np.where(rows == 0, np.iinfo(np.int64).max, rows)
    repeated = bool((rows[:, 1:] == rows[:, :-1]).any())
    if values.ndim == 1 and (values[0] == 0 or not repeated):
        yield Dialect.CU_SEQLENS, "it has one axis of whole numbers that are no gates"
    elif (rows >= 0).all() and not falls.any():
        yield Dialect.SEQUENCE_NUMBERS, "its whole numbers do not fall within a row, but to 0"
    elif values.ndim == 1:
        yield Dialect.CU_SEQLENS, "it has one axis of whole numbers that are no gates"
    else:
        yield Dialect.HF_2D, "it has two axes of whole numbers"


def _of_numbers(values: AnyArray) -> Iterator[tuple[Dialect, str]]:
    """Floats that are not all 0 and 1."""
    shares = not np.isnan(values).any() and bool(((values >= 0) & (values <= 1)).all())
    if values.ndim > 2 and shares and bool((np.abs(values.sum(axis=-1) - 1) < 0.02).all()):
        yield Dialect.WEIGHTS, "its rows sum to 1"
    elif values.ndim <= 2 and shares:
        yield Dialect.HEAD_MASK, "its numbers are gates between 0 and 1"
    elif values.ndim == 4:
        yield Dialect.HF_4D, "its numbers are to be added to scores"
    elif values.ndim in (2, 3) and bool((values[~np.isnan(values)] <= BLOCKED).any()):
        yield Dialect.TORCH_MHA_FLOAT, "its numbers are to be added to scores and it has no four axes"


def _of_cells(values: AnyArray) -> Iterator[tuple[Dialect, str]]:
    """Booleans of two or three axes: which way round they are is seen where they are triangles."""
    cells = np.asarray(values != 0)
    attend = Dialect.SDPA if values.ndim == 2 else Dialect.KERAS
    if _is_pattern(cells):
        yield attend, ""
    elif _is_pattern(~cells):
        yield Dialect.TORCH_MHA, ""
    if _of_padding(cells):
        yield Dialect.TORCH_PADDING, "its rows are texts of several lengths with their padding at one end"
        if _upside_down(values):  # then True may mean keep, as transformers has it
            yield Dialect.HF_2D, ""
        return
    if _triangular(cells):
        yield attend, "no query would see a later key, as with True = attend"
    elif _triangular(~cells):
        yield Dialect.TORCH_MHA, "no query would see a later key, as with True = blocked"
    else:
        yield attend, ""
        yield Dialect.TORCH_MHA, ""
        if values.ndim == 2:
            yield Dialect.TORCH_PADDING, ""
            if _upside_down(values):
                yield Dialect.HF_2D, ""


def _is_pattern(cells: BoolArray) -> bool:
    """Whether a square of cells is one of the patterns people build on purpose: whole blocks, or a prefix."""
    if cells.ndim != 2 or not _square(cells):
        return False
    rule = recognise(cells[None, None], None)
    return any(isinstance(leaf, BlockCausal | Prefix | BlockDiffusion) for leaf in rule.leaves())


def _upside_down(values: AnyArray) -> str:
    """What is wrong with booleans [batch, token] as torch-padding, where they would be upside down; else ""."""
    if values.ndim != 2 or values.dtype.kind != "b" or not values.size:
        return ""
    array = GivenArray("", values, "bool", Dialect.TORCH_PADDING, visible=~values[:, None, None])
    if not upside_down_padding(array):
        return ""
    row = int(values.all(axis=1).argmax()) + 1
    return f"; as {Dialect.TORCH_PADDING} it would be inverted, blocking all of row {row}"


def _of_padding(cells: BoolArray) -> bool:
    """Whether booleans [batch, token] are texts of other lengths than the queries of a triangle see, either way round,
    with padding at the same end."""
    if cells.ndim != 2 or len(cells) < 2 or not (at_one_end(cells) or at_one_end(~cells)):
        return False
    lengths = cells.sum(axis=1)
    return len(np.unique(lengths)) > 1 and not (np.abs(np.diff(lengths)) == 1).all()


def _square(values: AnyArray) -> bool:
    return bool(values.shape[-1] == values.shape[-2])


def _triangular(visible: BoolArray) -> bool:
    """Whether every query sees its own key and none sees a later one, with the last query at the last key or the first
    at the first; two queries alone may do so by chance."""
    queries, keys = visible.shape[-2:]
    if queries < 3 or keys < queries:
        return False
    return any(_ends_at(visible, np.arange(queries) + offset) for offset in {0, keys - queries})


def _ends_at(visible: BoolArray, own: IntArray) -> bool:
    """Whether no query sees beyond its own key, and all but padding see that."""
    later = np.arange(visible.shape[-1]) > own[:, None]
    return not (visible & later).any() and bool(visible[..., np.arange(len(own)), own].any(axis=-1).all())
