"""`maskviz check` on mask files, alone and in a batch's company."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.architectures import tiny
from tests.conftest import Response

Maskviz = Callable[..., Response]
BROKEN = Path(__file__).parents[2] / "samples" / "broken"
CAUSAL = np.tril(np.ones((9, 9), np.bool_))
IDS = " ".join(map(str, range(5, 14)))


def found(answer: Response) -> list[str]:
    return [one["id"] for one in json.loads(answer.stdout)["findings"]]


def test_the_files_of_the_sample_are_what_its_script_makes(tmp_path: Path) -> None:
    shutil.copy(BROKEN / "make_broken.py", tmp_path)
    subprocess.run([sys.executable, "make_broken.py"], cwd=tmp_path, check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir() if path.suffix != ".py"}
    kept = {path.name: path.read_bytes() for path in BROKEN.iterdir() if path.suffix in (".npy", ".jsonl", ".json")}
    assert made == kept


def test_a_mask_file_is_tried_by_its_framework_and_drawn(maskviz: Maskviz, golden: Callable[[str, str], None]) -> None:
    asked = (str(BROKEN / "repeated.npy"), "--as", "torch-mha", "--heads", "4", "--batch", "2")
    golden("cli_check_mask", maskviz("check", *asked, expect=5).stdout.replace(f"{BROKEN}/", ""))


@pytest.fixture(scope="module")
def mistral(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model with a window of 4 tokens in every layer."""
    folder = tmp_path_factory.mktemp("mistral")
    tiny("mistral").save_pretrained(folder)
    return str(folder)


def in_company(maskviz: Maskviz, model: str, path: Path, values: Any, *more: str, expect: int) -> list[dict[str, Any]]:
    np.save(path, values)
    answer = maskviz("check", "-m", model, "--ids", IDS, "--mask", str(path), *more, "--format", "json", expect=expect)
    findings: list[dict[str, Any]] = json.loads(answer.stdout)["findings"]
    return findings


def test_a_causal_mask_that_takes_the_windows_away_is_found(maskviz: Maskviz, mistral: str, tmp_path: Path) -> None:
    (finding,) = in_company(maskviz, mistral, tmp_path / "mask.npy", CAUSAL[None, None], expect=0)
    assert (finding["id"], finding["where"]) == ("L3", "layers 0-2")
    assert finding["message"] == "window(4) no longer holds: 15 cells it blocks are visible with the mask"


def test_a_mask_with_the_window_in_it_is_right(maskviz: Maskviz, mistral: str, tmp_path: Path) -> None:
    window = CAUSAL & ~np.tril(CAUSAL, -4)
    assert in_company(maskviz, mistral, tmp_path / "mask.npy", window[None, None], "--fail-on", "note", expect=0) == []


def test_heads_with_masks_of_their_own_are_right(maskviz: Maskviz, mistral: str, tmp_path: Path) -> None:
    windows = np.stack([CAUSAL & ~np.tril(CAUSAL, -size) for size in (1, 2, 3, 4)])
    asked = ("--fail-on", "note")
    assert in_company(maskviz, mistral, tmp_path / "mask.npy", windows[None], *asked, expect=0) == []


def test_ones_and_zeros_for_a_model_are_found_with_what_they_let_through(
    maskviz: Maskviz, mistral: str, tmp_path: Path
) -> None:
    findings = in_company(maskviz, mistral, tmp_path / "mask.npy", CAUSAL[None, None].astype(np.float32), expect=5)
    assert [one["id"] for one in findings] == ["T2", "L1", "L3"]
    assert "falls on blocked cells" in findings[0]["measured"]


def test_padding_that_is_upside_down_is_found_by_the_batch(maskviz: Maskviz, tmp_path: Path) -> None:
    torch.save(torch.tensor([[0, 0, 0, 1, 1, 1], [0, 0, 0, 0, 0, 0]]), tmp_path / "keep.pt")
    texts = (
        "-m",
        "demo:gpt",
        "--padding-side",
        "right",
        "--for",
        "forward",
        "The cat sat",
        "The dog ran into the house",
    )
    answer = maskviz("check", *texts, "--mask", str(tmp_path / "keep.pt"), "--format", "json", expect=5)
    assert "T1" in found(answer) and "P6" not in found(answer)


@pytest.mark.parametrize(
    ("values", "more", "said"),
    [
        (np.full((1, 1, 4, 4), np.nan), (), "nan"),
        (np.zeros((1, 1, 4, 4, 4)), ("--as", "sdpa"), "[1, 1, 4, 4, 4]"),
        (np.zeros((0, 4)), ("--as", "hf-2d"), "holds nothing"),
        (np.ones((3, 3), np.bool_), (), "may be"),
        (np.zeros((3, 3), np.float32), (), "may be hf-2d or torch-mha-float"),
    ],
)
def test_what_is_no_mask_and_no_known_mistake_is_said_in_one_line(
    maskviz: Maskviz, tmp_path: Path, values: Any, more: tuple[str, ...], said: str
) -> None:
    np.save(tmp_path / "mask.npy", values)
    answer = maskviz("check", str(tmp_path / "mask.npy"), *more, expect=(0, 2))
    assert said in answer.stderr or said in answer.stdout
    assert "Traceback" not in answer.stderr


def test_correct_masks_of_every_dialect_have_nothing_found_in_them(maskviz: Maskviz, tmp_path: Path) -> None:
    keep = np.arange(9) < np.array([[5], [9]])
    padded = CAUSAL & keep[:, None, None, :]  # [batch, 1, query, key]
    least = np.finfo(np.float32).min
    right: list[tuple[str, Any, tuple[str, ...]]] = [
        ("hf-2d", keep.astype(np.int64), ()),
        ("hf-4d", np.where(padded, 0, least).astype(np.float32), ()),
        ("hf-4d", np.where(padded, 0, -np.inf).astype(np.float32), ()),
        ("sdpa", padded, ("--batch", "2", "--heads", "4", "--queries", "9", "--keys", "9")),
        ("sdpa", CAUSAL[6:], ("--queries", "3", "--keys", "9")),
        ("torch-mha", ~CAUSAL, ("--heads", "4")),
        ("torch-mha", np.repeat(~padded[:, 0], 4, axis=0), ("--heads", "4", "--batch", "2")),
        ("torch-mha-float", np.where(CAUSAL, 0, -np.inf).astype(np.float32), ("--heads", "4")),
        ("torch-padding", ~keep, ()),
        ("keras", padded[:, 0], ()),
        ("flex", padded, ()),
        ("flax", padded.astype(np.float32), ()),
        ("head-mask", np.ones((3, 4), np.float32), ()),
        ("weights", np.full((1, 4, 9, 9), 1 / 9, np.float32), ("--heads", "4")),
    ]
    for number, (dialect, values, more) in enumerate(right):
        path = tmp_path / f"{number}.npy"
        np.save(path, values)
        answer = maskviz("check", str(path), "--as", dialect, *more, "--fail-on", "note", "--format", "json")
        assert found(answer) == [], (dialect, answer.stdout)
