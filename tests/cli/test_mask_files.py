"""Mask files as cases: right masks of every dialect are silent, and no file breaks the check."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskviz.analyse.check import check
from maskviz.api.checking.array import given_array
from maskviz.conventions.conversion import write
from maskviz.conventions.files import mask_bytes
from maskviz.core.arrays import BoolArray
from maskviz.core.checks.case import Case, Sizes
from maskviz.core.checks.dialects import CONVENTIONS
from maskviz.core.words import Dialect
from tests.conftest import Response

Maskviz = Callable[..., Response]
# Six queries behind three cached tokens, and three rows padded on the left. Every query sees a key.
SIZES = Sizes(3, 4, 6, 9)
_KEYS = np.arange(9)
_PLACES = np.arange(3, 9)[:, None]
_BEHIND = _PLACES - _KEYS[None, :]
_LATEST = (_BEHIND >= 0)[None, None]
PADDING: BoolArray = np.asarray(_KEYS[None, :] >= np.array([0, 3, 1])[:, None])[:, None, None]
SHARED: dict[str, BoolArray] = {
    "causal": _LATEST,
    "window": _LATEST & (_BEHIND < 3),
    "chunk": _LATEST & (_KEYS[None, :] // 4 == _PLACES // 4),
}
_OWN = _LATEST & (np.array([2, 3, 5, 9])[:, None, None] > _BEHIND)[None]
MASKS: dict[str, BoolArray] = {
    **SHARED,
    "padding": PADDING,
    "causal and padding": _LATEST & PADDING,
    "heads": _OWN,
    "heads and rows": _OWN & PADDING,
}
# What each dialect can say of the masks.
SAID: dict[Dialect, dict[str, BoolArray]] = {
    Dialect.HF_2D: {"padding": PADDING},
    Dialect.TORCH_PADDING: {"padding": PADDING},
    **dict.fromkeys((Dialect.HF_4D, Dialect.SDPA, Dialect.FLEX, Dialect.FLAX), MASKS),
    **dict.fromkeys((Dialect.TORCH_MHA, Dialect.TORCH_MHA_FLOAT), MASKS),
    Dialect.KERAS: {name: one for name, one in MASKS.items() if one.shape[1] == 1},
}
RIGHT = [(dialect, name) for dialect, masks in SAID.items() for name in masks]


@pytest.mark.parametrize("sizes", [SIZES, Sizes(heads=4)], ids=["all sizes", "heads"])
@pytest.mark.parametrize(("dialect", "name"), RIGHT)
def test_right_masks_are_silent(dialect: Dialect, name: str, sizes: Sizes, tmp_path: Path) -> None:
    for dtype in CONVENTIONS[dialect].types:
        path = tmp_path / "mask.pt"
        path.write_bytes(mask_bytes(write(SAID[dialect][name], dialect, SIZES, dtype), ".pt", dtype))
        array = given_array(path, dialect, sizes, dtype if "float" in dtype else "")
        assert array.unreadable == ""
        assert check(Case(array=array)) == (), dtype


@pytest.mark.parametrize("name", SHARED)
def test_upside_down_they_are_not(name: str, tmp_path: Path) -> None:
    for dialect in (Dialect.SDPA, Dialect.TORCH_MHA, Dialect.FLEX):
        np.save(tmp_path / "mask.npy", ~write(SHARED[name], dialect, SIZES))
        assert check(Case(array=given_array(tmp_path / "mask.npy", dialect, SIZES, ""))), dialect


_TOKENS = np.arange(8)
_CAUSAL = _TOKENS[None, :] <= _TOKENS[:, None]
_DISTANCE = _TOKENS[:, None] - _TOKENS[None, :]
SQUARES = {
    "all": np.ones((8, 8), np.bool_),
    "band": np.abs(_DISTANCE) <= 2,
    "packed": _CAUSAL & (_TOKENS[:, None] // 3 == _TOKENS[None, :] // 3),
    "prefix": _CAUSAL | (_TOKENS < 3)[None, :],
    "sink": _CAUSAL & ((_DISTANCE < 3) | (_TOKENS < 1)[None, :]),
    "right padding": _CAUSAL & (_TOKENS < 5)[None, :],
    "left padding": _CAUSAL & (_TOKENS > 2)[None, :],
    "strided": _CAUSAL & (_DISTANCE % 3 == 0),
}


@pytest.mark.parametrize("name", SQUARES)
def test_right_masks_of_usual_patterns_are_silent(name: str, tmp_path: Path) -> None:
    for dialect in (Dialect.SDPA, Dialect.HF_4D, Dialect.FLAX, Dialect.KERAS):
        np.save(tmp_path / "mask.npy", write(np.asarray(SQUARES[name])[None, None], dialect, Sizes()))
        array = given_array(tmp_path / "mask.npy", dialect, Sizes(queries=8, keys=8), "")
        assert check(Case(array=array)) == (), dialect


def test_what_a_trap_costs_is_measured(maskviz: Maskviz, tmp_path: Path) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, np.tril(np.ones((1, 1, 8, 8), np.float32)))
    answer = maskviz("check", str(path), "--as", "hf-4d", "--format", "json", expect=5)
    (finding,) = json.loads(answer.stdout)["findings"]
    assert finding["id"] == "T2" and "of a query's attention falls on blocked cells" in finding["measured"]


def hostile(folder: Path) -> dict[str, tuple[int, str]]:
    """Files with what is said of each, and the exit code."""
    np.save(folder / "empty.npy", np.zeros((0, 4)))
    np.save(folder / "number.npy", np.array(1.0))
    np.save(folder / "five.npy", np.ones((1, 1, 1, 4, 4)))
    np.save(folder / "complex.npy", np.ones((4, 4), complex))
    np.save(folder / "words.npy", np.array([["a"]]))
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    np.save(folder / "nan.npy", np.full((1, 1, 4, 4), np.nan, np.float32))
    np.save(folder / "inf.npy", np.full((1, 1, 4, 4), np.inf, np.float32))
    np.save(folder / "dates.npy", np.array(["2026-01-01"], "datetime64[D]"))
    for name, shape in (("huge", (2**40, 2**40)), ("negative", (-1, 4)), ("wide", (1,) * 99)):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
        start = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little")
        (folder / f"{name}.npy").write_bytes(start + header + bytes(16))
    (folder / "long.npy").write_bytes(b"\x93NUMPY\x02\x00" + (2**31).to_bytes(4, "little") + bytes(64))
    torch.save(torch.zeros(1).expand(2**20, 2**20), folder / "repeated.pt")
    torch.save(torch.zeros(2, 2).to(torch.float8_e4m3fn), folder / "eight.pt")
    torch.save([torch.zeros(2)], folder / "list.pt")
    (folder / "folder.npy").mkdir()
    (folder / "short.safetensors").write_bytes((2**40).to_bytes(8, "little") + b"{}")
    (folder / "mask.csv").write_text("1,0")
    return {
        "empty.npy": (2, "[0, 4], which is like no known mask"),
        "number.npy": (2, "[], which is like no known mask"),
        "five.npy": (2, "[1, 1, 1, 4, 4], which is like no known mask"),
        **dict.fromkeys(("complex.npy", "words.npy", "objects.npy", "dates.npy"), (3, "cannot be read")),
        "nan.npy": (2, "the mask has nan at [0, 0, 0, 0]"),
        "inf.npy": (2, "the mask has inf at [0, 0, 0, 0]"),
        **dict.fromkeys(("huge.npy", "negative.npy", "wide.npy", "long.npy"), (3, "cannot be read")),
        "repeated.pt": (3, "1,099,511,627,776 cells"),
        "eight.pt": (2, "a mask of float8_e4m3fn is none"),
        "list.pt": (3, "it holds list and no tensor"),
        "folder.npy": (3, "is no file"),
        "short.safetensors": (3, "cannot be read"),
        "missing.pt": (3, "does not exist"),
    }


@pytest.mark.parametrize("command", [("check",), ("convert", "--to", "sdpa")], ids=lambda one: one[0])
def test_no_file_breaks_a_command(maskviz: Maskviz, tmp_path: Path, command: tuple[str, ...]) -> None:
    for name, (code, said) in hostile(tmp_path).items():
        answer = maskviz(command[0], str(tmp_path / name), *command[1:], expect=code)
        assert said in answer.stderr, name
        assert "Traceback" not in answer.stderr


def test_ones_and_zeros_with_four_axes_are_right_in_flax_and_not_guessed(maskviz: Maskviz, tmp_path: Path) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, np.tril(np.ones((1, 1, 8, 8), np.float32)))
    assert "may be hf-4d or flax" in maskviz("check", str(path), expect=2).stderr
    assert "say which: --from hf-4d" in maskviz("convert", str(path), "--to", "sdpa", expect=2).stderr
    assert "no findings" in maskviz("check", str(path), "--as", "flax").stdout


@pytest.mark.parametrize("dialect", ["hf-4d", "sdpa", "torch-mha-float", "torch-padding"])
def test_what_is_added_to_scores_is_not_lost_in_silence(maskviz: Maskviz, tmp_path: Path, dialect: str) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, np.array([[0.0, -0.5], [-0.25, 0.0]])[(None, None) if dialect == "hf-4d" else ...])
    answer = maskviz("convert", str(path), "--from", dialect, "--to", "flax", expect=2)
    assert "also adds numbers from -0.5 to 0" in answer.stderr


def test_chunks_are_written_as_code(maskviz: Maskviz, tmp_path: Path) -> None:
    path = tmp_path / "mask.npy"
    np.save(path, SHARED["chunk"])
    code = maskviz("convert", str(path), "--from", "sdpa", "--to", "python").stdout
    names: dict[str, Any] = {}
    exec(code, names)
    assert np.array_equal(names["visible"].numpy(), SHARED["chunk"][0, 0])


@pytest.mark.parametrize("dialect", list(Dialect))
def test_any_array_in_any_dialect_is_findings_or_one_line(maskviz: Maskviz, tmp_path: Path, dialect: Dialect) -> None:
    arrays: tuple[Any, ...] = (
        np.zeros((0, 4)),
        np.array(1.0),
        np.ones((1, 1, 1, 4, 4)),
        np.full((2, 3, 4, 4), np.nan, np.float32),
        np.full((4, 4), -np.inf, np.float16),
        np.ones((4, 4), np.int8),
        np.zeros((2, 3), bool),
        np.ones((6, 4, 4), bool),
        np.arange(16).reshape(1, 1, 4, 4),
    )
    for array in arrays:
        np.save(tmp_path / "mask.npy", array)
        sizes = ("--heads", "3", "--batch", "2", "--queries", "4", "--keys", "4", "--window", "2", "--dtype", "float16")
        for more in ((), sizes):
            answer = maskviz("check", str(tmp_path / "mask.npy"), "--as", dialect, *more, expect=(0, 2, 5))
            assert "Traceback" not in answer.stderr
