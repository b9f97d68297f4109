"""Masks from files: what is read, and what is refused in words."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from maskviz.core.errors import CannotTraceError, MaskvizError, NotFoundError, UsageError
from maskviz.load.encode import Request, encode
from maskviz.load.user_mask import given_mask, read_mask
from tests.trace.conftest import loaded_tiny, random_rows

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


def files(folder: Path) -> dict[str, str]:
    """Files that hold no mask, with what is said of each."""
    for name in ("empty.npy", "empty.pt", "empty.safetensors"):
        (folder / name).write_bytes(b"")
    for name in ("text.npy", "text.pt", "text.safetensors"):
        (folder / name).write_text("no mask at all, only words")
    np.save(folder / "words.npy", np.array(["a", "b"]))
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


def placed(mask: torch.Tensor, model_type: str = "llama", lengths: tuple[int, ...] = (3, 3)) -> Any:
    loaded = loaded_tiny(model_type)
    batch = encode(
        loaded,
        Request(ids=random_rows(lengths), target_ids=random_rows((2, 2))[: len(lengths)] if model_type == "t5" else ()),
    ).batch
    return given_mask(loaded, batch, mask)


@pytest.mark.parametrize(
    ("shape", "lengths", "passed", "note"),
    [
        ((2, 3), (3, 3), (2, 3), "[batch, token]"),
        ((3, 3), (3, 3), (1, 1, 3, 3), "[query, key] and passed as [1, 1, 3, 3]"),
        ((2, 2), (2, 2), (2, 2), "[batch, token]"),
        ((1, 3, 3), (3, 3), (1, 1, 3, 3), "[batch, query, key] and passed as [1, 1, 3, 3]"),
        ((2, 3, 3), (3, 3), (2, 1, 3, 3), "[batch, query, key]"),
        ((2, 4, 3, 3), (3, 3), (2, 4, 3, 3), ""),
        ((1, 1, 3, 3), (3, 3), (1, 1, 3, 3), ""),
    ],
)
def test_which_reading_was_taken_is_said(
    shape: tuple[int, ...], lengths: tuple[int, ...], passed: tuple[int, ...], note: str
) -> None:
    given = placed(torch.ones(shape, dtype=torch.bool), lengths=lengths)
    assert tuple(given.tensor.shape) == passed
    assert given.tensor.dtype is torch.bool
    assert note in " ".join(given.notes)
    assert bool(given.notes) is bool(note)


@pytest.mark.parametrize(
    ("mask", "model_type", "kind", "said"),
    [
        (torch.ones(4, 4), "llama", UsageError, r"the mask is \[4, 4\] and the batch 2 texts of 3 tokens"),
        (torch.ones(1, 1, 3, 4), "llama", UsageError, r"\[1, 1, 3, 4\]"),
        (torch.ones(3, 1, 3, 3), "llama", UsageError, r"\[3, 1, 3, 3\]"),
        (torch.ones(1, 3, 3, 3), "llama", UsageError, r"\[1, 3, 3, 3\]"),
        (torch.tensor(1.0), "llama", UsageError, r"the mask is \[\]"),
        (torch.ones(0, 3), "llama", UsageError, "holds nothing"),
        (torch.full((2, 3), 2), "llama", UsageError, "other than 0 and 1"),
        (torch.full((1, 1, 3, 3), float("nan")), "llama", UsageError, r"has nan at \[0, 0, 0, 0\]"),
        (torch.full((1, 1, 3, 3), float("inf")), "llama", UsageError, "has inf at"),
        (torch.ones(1, 1, 3, 3, dtype=torch.int64), "llama", UsageError, "int64, which sdpa attention"),
        (torch.ones(1, 1, 3, 3, dtype=torch.float64), "llama", UsageError, "float64, which sdpa attention"),
        (torch.ones(1, 1, 3, 3, dtype=torch.complex64), "llama", UsageError, "complex64"),
        (MASK, "t5", CannotTraceError, "cross attention too"),
    ],
)
def test_a_mask_that_does_not_fit_is_said(
    mask: torch.Tensor, model_type: str, kind: type[MaskvizError], said: str
) -> None:
    with pytest.raises(kind, match=said):
        placed(mask, model_type)


def test_what_a_float_mask_means_depends_on_its_values() -> None:
    allowed = MASK.expand(1, 1, 3, 3)
    for mask in (allowed, allowed.float(), torch.zeros(1, 1, 3, 3).masked_fill(~allowed, -1e9)):
        assert np.array_equal(placed(mask).visible, allowed.numpy())
