"""Head masks however they are given: in their grammar, from a file, as arrays."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from maskviz.core.arrays import AnyArray, FloatArray
from maskviz.core.errors import NotFoundError, UsageError
from maskviz.core.run.heads import Groups, HeadMask, head_mask_of, parse_head_mask
from maskviz.store.reading import bytes_of

if TYPE_CHECKING:
    import torch

    Table = AnyArray | torch.Tensor | Sequence[Sequence[float]]
    Gates = str | HeadMask | Table | Mapping[str, Table]
else:
    Gates = Any


def head_mask_for(gates: Gates, shapes: Mapping[str, tuple[int, int]], groups: Groups | None = None) -> HeadMask:
    """A head mask that fits a model.

    Args:
        gates: Its grammar, "@file.json" or "@file.npy", a `HeadMask`, [layer, head] with 1 = keep, or such by stack.
        shapes: Layers and heads of each stack.
        groups: Which query heads read which key head, for the grammar.

    Raises:
        UsageError: it does not parse or does not fit the model.
        NotFoundError: the file is missing or damaged.
    """
    if isinstance(gates, str):
        return parse_or_read_head_mask(gates, shapes, groups)
    if isinstance(gates, HeadMask):
        return head_mask_of(gates.gates, shapes)
    try:
        if isinstance(gates, Mapping):
            return head_mask_of({stack: _numbers(table) for stack, table in gates.items()}, shapes)
        return head_mask_of(_numbers(gates), shapes)
    except (TypeError, ValueError) as error:
        raise UsageError("the head mask holds no numbers", "give numbers from 0 to 1, 1 keeps a head") from error


def parse_or_read_head_mask(text: str, shapes: Mapping[str, tuple[int, int]], groups: Groups | None = None) -> HeadMask:
    """A head mask from its grammar, or from @file.json / @file.npy holding [layer, head] with 1 = keep.

    A JSON file may also hold such a list for each of several stacks: `{"encoder": [[...]], "cross": [[...]]}`.

    Raises:
        UsageError: it does not parse or does not fit the model.
        NotFoundError: the file is missing or damaged.
    """
    if not text.startswith("@"):
        return parse_head_mask(text, shapes, groups)
    path = Path(text[1:])
    raw = bytes_of(path, "head mask file")
    hint = "it must hold layers x heads numbers from 0 to 1, 1 keeps a head, or such a list for each stack by name"
    try:
        held = np.load(BytesIO(raw), allow_pickle=False) if path.suffix == ".npy" else json.loads(raw)
        if isinstance(held, dict):
            return head_mask_of({stack: _numbers(listed) for stack, listed in held.items()}, shapes)
        return head_mask_of(_numbers(held), shapes)
    except (ValueError, TypeError, EOFError, OSError, RecursionError, MemoryError) as error:
        said = (str(error).splitlines() or ["unreadable"])[0]
        raise NotFoundError(f"head mask file {str(path)!r} cannot be read: {said}", hint) from error


def _numbers(held: Any) -> FloatArray:
    """Gates as float32, from an array, nested lists, or a tensor on any device."""
    array = np.asarray(held.detach().cpu() if hasattr(held, "detach") else held)
    if array.dtype.kind not in "buif":
        raise ValueError(f"it holds {array.dtype}")
    return array.astype(np.float32)
