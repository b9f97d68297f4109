"""One mask from and to every dialect: what is read is which cells are visible, and what is written is made of that."""

from __future__ import annotations

import numpy as np

from maskviz.conventions.cells import read_cells, read_keras, write_cells, write_keras
from maskviz.conventions.fitting import fitted
from maskviz.conventions.module import read_module, write_module
from maskviz.conventions.packed import read_offsets, read_sequence_numbers, write_offsets, write_sequence_numbers
from maskviz.conventions.tokens import read_hf_2d, read_torch_padding, write_hf_2d, write_torch_padding
from maskviz.core.arrays import AnyArray, BoolArray
from maskviz.core.checks.case import Sizes
from maskviz.core.checks.dialects import CONVENTIONS
from maskviz.core.errors import UsageError
from maskviz.core.words import Dialect
from maskviz.core.writing import either


def read(array: AnyArray, dialect: Dialect, sizes: Sizes) -> BoolArray:
    """Which cells a mask leaves visible, as its dialect means it.

    Args:
        array: The mask; bfloat16 widened to float32.
        dialect: How it is to be read.
        sizes: Heads and rows, for a 3-D mask of nn.MultiheadAttention; nothing else is asked of them here.

    Returns:
        visible: bool [batch or 1, head or 1, query or 1, key], True = may attend.

    Raises:
        UsageError: its shape, type or numbers are none of the dialect's, or the dialect is none of tokens.
        RoomError: it stands for more cells than are made here.
    """
    values = np.asarray(array)
    if not values.size:
        raise UsageError(f"the mask is {list(values.shape)} and holds nothing", CONVENTIONS[dialect].axes)
    if values.dtype.kind not in "buif":
        raise UsageError(f"a mask of {values.dtype} is none", "save it as bool, whole numbers or floats")
    match dialect:
        case Dialect.HF_2D:
            return read_hf_2d(values)
        case Dialect.TORCH_PADDING:
            return read_torch_padding(values)
        case Dialect.TORCH_MHA | Dialect.TORCH_MHA_FLOAT:
            return read_module(values, dialect, sizes)
        case Dialect.KERAS:
            return read_keras(values)
        case Dialect.SEQUENCE_NUMBERS:
            return read_sequence_numbers(values)
        case Dialect.CU_SEQLENS:
            return read_offsets(values)
        case Dialect.HF_4D | Dialect.SDPA | Dialect.FLEX | Dialect.FLAX:
            return read_cells(values, dialect)
    raise no_tokens(dialect)


def write(visible: BoolArray, dialect: Dialect, sizes: Sizes, dtype: str = "") -> AnyArray:
    """A mask in a dialect; `read` gives back what is visible.

    Args:
        visible: bool [batch or 1, head or 1, query or 1, key], True = may attend.
        dialect: How it is to be said.
        sizes: What it is to fit: an axis of 1 is repeated for rows and queries; heads only where the dialect needs
            them.
        dtype: One of the dialect's types, "" for the usual one; bfloat16 comes as its numbers in float32.

    Raises:
        UsageError: the dialect cannot say it, has no such type, or the sizes are others.
    """
    convention = CONVENTIONS[dialect]
    if dialect in (Dialect.HEAD_MASK, Dialect.WEIGHTS):
        raise no_tokens(dialect)
    if dtype and dtype not in convention.types:
        raise UsageError(f"{dialect} is not written as {dtype}", f"one of {', '.join(convention.types)}")
    dtype = dtype or convention.types[0]
    cells = fitted(visible, sizes)
    match dialect:
        case Dialect.HF_2D:
            return write_hf_2d(cells, dtype)
        case Dialect.TORCH_PADDING:
            return write_torch_padding(cells)
        case Dialect.TORCH_MHA | Dialect.TORCH_MHA_FLOAT:
            return write_module(cells, dialect, sizes, dtype)
        case Dialect.KERAS:
            return write_keras(cells, dtype)
        case Dialect.SEQUENCE_NUMBERS:
            return write_sequence_numbers(cells, dtype)
        case Dialect.CU_SEQLENS:
            return write_offsets(cells, dtype)
    return write_cells(cells, dialect, dtype)


def no_tokens(dialect: Dialect) -> UsageError:
    """The error of a dialect that says nothing of tokens."""
    if dialect is Dialect.HEAD_MASK:
        return UsageError(
            "a head mask says which heads run, and nothing of tokens",
            either("source='head-mask', target='head-mask'", "--from head-mask --to head-mask"),
        )
    return UsageError(
        "attention weights are what came out of a mask, and no mask: a weight of 0 may be a small one",
        either(
            "maskviz.check(mask=weights, dialect='weights') looks at them",
            "maskviz check weights.npy --as weights looks at them",
        ),
    )
