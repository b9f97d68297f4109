"""Mask files: what is read, what is refused in words, and what is written."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from maskviz.conventions.files import mask_bytes, read_mask, values_of
from maskviz.core.errors import NotFoundError, UsageError

MASK = torch.ones(1, 1, 3, 3, dtype=torch.bool).tril()


@pytest.mark.parametrize("dtype", [torch.bool, torch.int64, torch.float32, torch.float16])
def test_every_format_gives_the_tensor_that_was_saved(tmp_path: Path, dtype: torch.dtype) -> None:
    mask = MASK.to(dtype)
    np.save(tmp_path / "a.npy", mask.numpy())
    torch.save(mask, tmp_path / "a.pt")
    torch.save({"attention_mask": mask, "other": torch.zeros(2)}, tmp_path / "b.pt")
    save_file({"anything": mask}, tmp_path / "a.safetensors")
    save_file({"mask": mask, "other": torch.zeros(2)}, tmp_path / "b.safetensors")
    for name in ("a.npy", "a.pt", "b.pt", "a.safetensors", "b.safetensors"):
        read = read_mask(tmp_path / name)
        assert read.dtype is dtype, name
        assert torch.equal(read, mask), name


def test_numbers_of_another_byte_order_are_read(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.eye(3, dtype=">f4"))
    assert torch.equal(read_mask(tmp_path / "a.npy"), torch.eye(3))


class Touches:
    """Opening its pickle makes a folder: code that must not run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_needs_code_is_refused_and_not_run(tmp_path: Path) -> None:
    torch.save(Touches(tmp_path / "ran"), tmp_path / "evil.pt")
    (tmp_path / "plain.pt").write_bytes(pickle.dumps(Touches(tmp_path / "ran")))
    np.save(tmp_path / "evil.npy", np.array([Touches(tmp_path / "ran")], dtype=object), allow_pickle=True)
    for name in ("evil.pt", "plain.pt", "evil.npy"):
        with pytest.raises(NotFoundError, match=r"needs code|cannot be read"):
            read_mask(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def huge_header() -> bytes:
    """A .npy file that says it holds 8 TB, and holds nothing."""
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, {"descr": "<f8", "fortran_order": False, "shape": (2**20, 2**20)})
    return buffer.getvalue()


def files(folder: Path) -> dict[str, str]:
    """Files that hold no mask, with what is said of each."""
    for name in ("empty.npy", "empty.pt", "empty.safetensors"):
        (folder / name).write_bytes(b"")
    for name in ("text.npy", "text.pt", "text.safetensors"):
        (folder / name).write_text("no mask at all, only words")
    np.save(folder / "words.npy", np.array(["a", "b"]))
    (folder / "huge.npy").write_bytes(huge_header())
    np.save(folder / "complex.npy", np.ones((3, 3), dtype=complex))
    torch.save([1, 2], folder / "list.pt")
    torch.save({"a": 1}, folder / "none.pt")
    torch.save({"a": MASK, "b": MASK}, folder / "two.pt")
    torch.save(torch.eye(3).to_sparse(), folder / "sparse.pt")
    save_file({"a": MASK, "b": MASK.clone()}, folder / "two.safetensors")
    (folder / "folder.npy").mkdir()
    return {
        **dict.fromkeys(("empty.npy", "empty.safetensors", "text.npy", "text.safetensors"), "cannot be read"),
        **dict.fromkeys(("empty.pt", "text.pt"), "cannot be read|is damaged"),
        "words.npy": "it holds <U1",
        "huge.npy": "cannot be read",
        "complex.npy": "it holds complex128",
        "list.pt": "it holds list and no tensor",
        "none.pt": "it holds no tensor",
        "two.pt": "it holds 2 tensors, none named attention_mask or mask",
        "two.safetensors": "it holds 2 tensors",
        "sparse.pt": "no dense numbers",
        "folder.npy": "is no file",
        "missing.npy": "does not exist",
    }


def test_what_is_no_mask_is_said(tmp_path: Path) -> None:
    for name, said in files(tmp_path).items():
        with pytest.raises(NotFoundError, match=said):
            read_mask(tmp_path / name)
    with pytest.raises(UsageError, match="cannot tell the format"):
        read_mask(tmp_path / "mask.npz")


@pytest.mark.parametrize("shape", [(), (0,), (0, 4), (2, 0, 3)])
@pytest.mark.parametrize("suffix", [".npy", ".pt", ".safetensors"])
def test_arrays_that_hold_one_number_or_nothing_are_read_as_they_are(
    tmp_path: Path, shape: tuple[int, ...], suffix: str
) -> None:
    path = tmp_path / f"mask{suffix}"
    path.write_bytes(mask_bytes(np.zeros(shape, np.float32), suffix, "float32"))
    assert read_mask(path).shape == shape


@pytest.mark.parametrize("dtype", ["bool", "int32", "int64", "float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("suffix", [".npy", ".pt", ".safetensors"])
def test_what_is_written_is_read_again_in_its_type(tmp_path: Path, suffix: str, dtype: str) -> None:
    wide = "float32" if dtype == "bfloat16" else dtype
    array = np.tril(np.ones((2, 3, 3))).astype(wide)
    path = tmp_path / f"mask{suffix}"
    if (suffix, dtype) == (".npy", "bfloat16"):
        with pytest.raises(UsageError, match="numpy has no bfloat16"):
            mask_bytes(array, suffix, dtype)
        return
    path.write_bytes(mask_bytes(array, suffix, dtype))
    values, stored = values_of(read_mask(path))
    assert stored == dtype
    assert np.array_equal(values, array)


def test_an_array_in_fortran_order_is_written_whole(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    for suffix in (".npy", ".pt", ".safetensors"):
        path = tmp_path / f"mask{suffix}"
        path.write_bytes(mask_bytes(array, suffix, "float64"))
        assert np.array_equal(read_mask(path).numpy(), array), suffix
