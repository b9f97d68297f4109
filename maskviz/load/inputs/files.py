"""The arguments of a model's forward as somebody dumped them into a file; nothing that is in it is executed."""

from __future__ import annotations

import json
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from maskviz.core.errors import NotFoundError, UsageError
from maskviz.core.opening import Opener, first_line
from maskviz.core.writing import printable

_MOST_BYTES = 2**31
_HINT = "save what the forward takes, by name: np.savez('inputs.npz', input_ids=..., attention_mask=...)"


def read_inputs(path: Path) -> dict[str, Any]:
    """Read the arguments of a forward: tensors by name, and from .json or .pt numbers, flags and lists of them too.

    Raises:
        UsageError: another suffix, or nothing in it has a name.
        NotFoundError: the file is missing or damaged, needs code, or is larger than any batch.
    """
    content = _OPENER.open(path)
    if not isinstance(content, Mapping) or not content or not all(isinstance(name, str) for name in content):
        raise UsageError(f"inputs file {str(path)!r} holds no arguments by name", _HINT)
    return {name: _argument(name, value, path) for name, value in content.items()}


def read_labels(path: Path) -> tuple[tuple[str, ...], ...]:
    """Names of positions: a .json of strings or of rows of them; of another file each line is one.

    Raises:
        UsageError: it holds something else.
        NotFoundError: the file is missing or cannot be read.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise NotFoundError(f"labels file {str(path)!r} cannot be read: {first_line(error)}", _LABELS) from error
    if path.suffix.lower() != ".json":
        return (tuple(text.splitlines()),)
    try:
        found = json.loads(text)
    except ValueError as error:
        raise NotFoundError(f"labels file {str(path)!r} is no JSON: {first_line(error)}", _LABELS) from error
    flat = isinstance(found, list) and bool(found) and all(isinstance(one, str) for one in found)
    rows = [found] if flat else found
    if not isinstance(rows, list) or not rows or not all(isinstance(row, list) for row in rows):
        raise UsageError(f"labels file {str(path)!r} holds no rows of strings", _LABELS)
    if any(not isinstance(one, str) for row in rows for one in row):
        raise UsageError(f"labels file {str(path)!r} holds no rows of strings", _LABELS)
    return tuple(tuple(row) for row in rows)


_LABELS = 'write it as [["the", "cat"], ["a", "dog"]], a string for each position'


def _argument(name: str, value: Any, path: Path) -> Any:
    """What may be an argument: a tensor, a number or flag, or lists of these.

    Raises:
        UsageError: it is something else.
    """
    if isinstance(value, np.ndarray) and value.dtype.kind in "buif":
        array = value.astype(value.dtype.newbyteorder("="), copy=False)
        return torch.from_numpy(np.array(array, order="C"))
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, torch.Tensor) and value.layout is torch.strided and value.device.type != "meta":
        return value
    if isinstance(value, list | tuple):
        return tuple(_argument(name, one, path) for one in value)
    raise UsageError(
        f"{printable(name)} in {str(path)!r} is {type(value).__name__}, which is no array of numbers", _HINT
    )


def _from_npz(path: Path) -> dict[str, Any]:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no .npz file")
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(member.file_size for member in archive.infolist())
    if unpacked > _MOST_BYTES:  # a small file may unpack to any size
        raise ValueError(f"it would unpack to {unpacked:,} bytes")
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _from_pt(path: Path) -> Any:
    if path.stat().st_size == 0:
        raise EOFError("it is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of other pickles before it refuses them
        return torch.load(path, map_location="cpu", weights_only=True)


def _from_json(path: Path) -> Any:
    content = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(content, dict):
        raise ValueError("it is no object of names and numbers")
    return {name: _numbers(name, value) for name, value in content.items()}


def _numbers(name: str, value: Any) -> Any:
    """Lists of numbers as a tensor of the type that torch gives them: int64, float32 or bool."""
    if not isinstance(value, list):
        return value
    try:
        return torch.tensor(value)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise ValueError(f"{printable(name)[:40]} is no array of numbers: {first_line(error)}") from error


_READERS: dict[str, Callable[[Path], Any]] = {
    ".json": _from_json,
    ".npz": _from_npz,
    ".pt": _from_pt,
    ".safetensors": load_file,
}
_OPENER = Opener(
    "inputs",
    _READERS,
    _HINT,
    "save tensors alone: torch.save({'input_ids': ids}, 'inputs.pt')",
    (SafetensorError, zipfile.BadZipFile),
)
