"""Mask files, read without running anything that is in them, and written as bytes."""

from __future__ import annotations

import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from maskviz.core.arrays import AnyArray
from maskviz.core.errors import NotFoundError, UsageError
from maskviz.core.opening import Opener

_NAMES = ("attention_mask", "mask")
# A small file may hold a view of one number, repeated without end.
_MOST_CELLS = 2**30
_WHOLE = (torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64)
_TYPES = (torch.bool, *_WHOLE, torch.float16, torch.bfloat16, torch.float32, torch.float64)
_SHAPES_HINT = "give [batch, token] with 1 = keep, or [batch or 1, head or 1, query, key]"


def read_mask(path: Path) -> torch.Tensor:
    """Read the one tensor of a .npy, .pt or .safetensors file, or the one named attention_mask or mask. No code runs.

    Raises:
        UsageError: another suffix.
        NotFoundError: the file is missing or damaged, needs code, or does not hold one mask.
    """
    tensor = _OPENER.open(path)
    if tensor.numel() > _MOST_CELLS:
        raise NotFoundError(
            f"mask file {str(path)!r} has {tensor.numel():,} cells, more than {_MOST_CELLS:,}",
            "maskviz mask draws long masks from their rule",
        )
    return tensor.detach()


def _from_npy(path: Path) -> torch.Tensor:
    with path.open("rb") as file:
        start = file.read(len(np.lib.format.MAGIC_PREFIX))
    if start and start != np.lib.format.MAGIC_PREFIX:
        raise ValueError("it is no .npy file of one array")
    # Mapped first: a header that promises more than the file holds takes no memory.
    with np.errstate(over="ignore"):  # sizes that overflow are an error of their own
        array = np.load(path, mmap_mode="r", allow_pickle=False) if path.stat().st_size else np.load(path)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "buif":
        raise ValueError(f"it holds {getattr(array, 'dtype', 'several arrays')}")
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))


def _from_pt(path: Path) -> torch.Tensor:
    if not zipfile.is_zipfile(path) and path.stat().st_size == 0:
        raise EOFError("it is empty")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of other pickles before it refuses them
        return _the_mask(torch.load(path, map_location="cpu", weights_only=True))


def _the_mask(content: Any) -> torch.Tensor:
    if isinstance(content, dict):
        tensors = {name: one for name, one in content.items() if isinstance(one, torch.Tensor)}
        named = [tensors[name] for name in _NAMES if name in tensors] or list(tensors.values())
        if not named:
            raise ValueError("it holds no tensor")
        if len(tensors) > 1 and not any(name in tensors for name in _NAMES):
            raise ValueError(f"it holds {len(tensors)} tensors, none named {' or '.join(_NAMES)}")
        content = named[0]
    if not isinstance(content, torch.Tensor):
        raise ValueError(f"it holds {type(content).__name__} and no tensor")
    if content.layout is not torch.strided or content.device.type == "meta":
        raise ValueError("it holds no dense numbers")
    return content


_READERS: dict[str, Callable[[Path], torch.Tensor]] = {
    ".npy": _from_npy,
    ".pt": _from_pt,
    ".safetensors": lambda path: _the_mask(load_file(path)),
}
_OPENER = Opener(
    "mask", _READERS, _SHAPES_HINT, "save the tensor alone: torch.save(mask, 'mask.pt')", (SafetensorError,)
)


def values_of(tensor: torch.Tensor) -> tuple[AnyArray, str]:
    """A tensor as an array, 16-bit floats of torch widened to float32, and the name of its own type.

    Raises:
        UsageError: a type that no mask has.
    """
    name = str(tensor.dtype).removeprefix("torch.")
    if tensor.dtype not in _TYPES:
        raise UsageError(f"a mask of {name} is none", "save it as bool, int64 or float32")
    wide = tensor.float() if tensor.dtype is torch.bfloat16 else tensor
    return wide.resolve_conj().resolve_neg().numpy(), name


def mask_bytes(array: AnyArray, suffix: str, dtype: str) -> bytes:
    """A mask as the content of a .npy, .pt or .safetensors file, alone and named "mask" where files have names.

    Args:
        array: Any shape; numbers of bfloat16 in float32.
        suffix: Which format.
        dtype: The type it is to have in the file.

    Raises:
        UsageError: numpy has no such type.
    """
    if suffix == ".npy":
        if dtype == "bfloat16":
            raise UsageError("numpy has no bfloat16", "end the file in .pt or .safetensors")
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        return buffer.getvalue()
    tensor = torch.from_numpy(np.array(array)).to(getattr(torch, dtype))
    if suffix == ".safetensors":
        return save({"mask": tensor.contiguous()})
    buffer = io.BytesIO()
    torch.save(tensor, buffer)
    return buffer.getvalue()
