"""Masks that people build on purpose, block-causal, prefix, block diffusion and packed, from a file to its code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskviz.core.arrays import BoolArray
from tests.conftest import Response
from tests.core.test_rules import sees_by_diffusion

Maskviz = Callable[..., Response]
Golden = Callable[[str, str], None]

PLACE = np.arange(12)
KEY, QUERY = PLACE[None], PLACE[:, None]
_SEES = sees_by_diffusion(3, 6)
_NAMES = np.repeat([0, 1, 2], [3, 2, 7])
MASKS: dict[str, BoolArray] = {
    "block(4)": np.asarray(KEY // 4 <= QUERY // 4),
    "block(4) ∧ padding": np.asarray((KEY // 4 <= QUERY // 4) & (KEY < 10)),
    "prefix(3)": np.asarray((KEY < 3) | (KEY <= QUERY)),
    "diffusion(3, 6)": np.array([[_SEES(0, query, key) for key in range(12)] for query in range(12)]),
    "causal ∧ document": np.asarray((KEY <= QUERY) & (_NAMES[QUERY] == _NAMES[KEY])),
}
NUMBERS = np.array([[1, 1, 1, 2, 2, 3, 3, 3, 3, 3, 0, 0]])
OFFSETS = np.array([0, 3, 5, 10], np.int32)


def saved(folder: Path, array: Any) -> str:
    np.save(folder / "mask.npy", array)
    return str(folder / "mask.npy")


def words(text: str) -> str:
    return " ".join(text.split())


def built(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


@pytest.mark.parametrize("rule", MASKS)
def test_a_mask_built_on_purpose_has_its_rule_and_no_finding_and_code_that_builds_it(
    maskviz: Maskviz, tmp_path: Path, rule: str
) -> None:
    file = saved(tmp_path, MASKS[rule][None, None])
    checked = maskviz("check", file, "--fail-on", "note").stdout
    assert "no findings" in checked
    assert f"\n{rule}\n" in checked
    assert "blocked" not in checked
    lines = built(maskviz("convert", file, "--to", "python").stdout)["visible"]
    assert np.array_equal(np.broadcast_to(lines.numpy(), (1, 1, 12, 12))[0, 0], MASKS[rule])
    maskviz("convert", file, "--to", "flex", "-o", str(tmp_path / "mask.py"))
    mask_mod = built((tmp_path / "mask.py").read_text())["mask_mod"]
    import torch

    index = [torch.tensor(number) for number in range(12)]
    cells = [[bool(mask_mod(index[0], index[0], query, key)) for key in index] for query in index]
    assert np.array_equal(np.array(cells), MASKS[rule])


def test_the_code_of_a_block_mask_is_the_golden_one(maskviz: Maskviz, golden: Golden, tmp_path: Path) -> None:
    said = []
    for rule in MASKS:
        file = saved(tmp_path, MASKS[rule][None, None])
        said.append(maskviz("convert", file, "--to", "python").stdout)
        maskviz("convert", file, "--to", "flex", "-o", str(tmp_path / "mask.py"))
        said.append((tmp_path / "mask.py").read_text())
    golden("cli_convert_on_purpose", "\n".join(said))


def test_packed_texts_are_told_by_their_lengths(maskviz: Maskviz, tmp_path: Path) -> None:
    answer = words(maskviz("check", saved(tmp_path, OFFSETS)).stdout)
    assert "3 texts of 3, 2, 5 tokens" in answer
    assert "read as cu-seqlens" in answer
    assert "38 of 100 cells visible" in answer
    answer = words(maskviz("check", saved(tmp_path, NUMBERS)).stdout)
    assert "3 texts of 3, 2, 5 tokens, and 2 of padding" in answer
    assert "read as sequence-numbers" in answer
    rows = np.concatenate([NUMBERS, np.where(NUMBERS > 2, 0, NUMBERS)])
    assert "row 2: 2 texts of 3, 2 tokens, and 7 of padding" in words(maskviz("check", saved(tmp_path, rows)).stdout)


@pytest.mark.parametrize(
    ("array", "dialect"),
    [
        (OFFSETS, "cu-seqlens"),
        (OFFSETS.astype(np.int64) + 3, "cu-seqlens"),  # wrong ones, which are found
        (np.array([0, 3, 3, 5]), "cu-seqlens"),
        (NUMBERS, "sequence-numbers"),
        (NUMBERS[0], "sequence-numbers"),
        (np.array([[0, 0, 1, 1], [1, 2, 2, 3]]), "sequence-numbers"),
        (np.array([1, 0, 1]), "head-mask"),
        (np.array([[1, 1, 0], [1, 1, 1]]), "hf-2d"),
    ],
    ids=str,
)
def test_numbers_of_texts_are_told_from_zeros_and_ones(
    maskviz: Maskviz, tmp_path: Path, array: Any, dialect: str
) -> None:
    answer = maskviz("check", saved(tmp_path, array), "--fail-on", "never", "--format", "json")
    assert f"read as {dialect}," in answer.stdout


def test_numbers_that_fall_are_of_no_packed_texts(maskviz: Maskviz, tmp_path: Path) -> None:
    answer = maskviz("check", saved(tmp_path, np.array([[7, 3, 9], [2, 8, 1]])), expect=2)
    assert "hf-2d has 0 and 1" in answer.stderr


@pytest.mark.parametrize(
    ("array", "more", "said"),
    [
        (OFFSETS[1:], (), "it starts at 3 instead of 0"),
        (np.array([0, 3, 2, 5]), (), "text 2 runs from 3 back to 2"),
        (np.array([0, 3, 3]), (), "text 2 has no token"),
        (OFFSETS, ("--keys", "12"), "it ends at 10, and there are 12 tokens"),
    ],
)
def test_offsets_that_cut_or_join_texts_are_an_error(
    maskviz: Maskviz, tmp_path: Path, array: Any, more: tuple[str, ...], said: str
) -> None:
    answer = maskviz("check", saved(tmp_path, array), *more, "--format", "json", expect=5)
    (finding,) = json.loads(answer.stdout)["findings"]
    assert finding["id"] == "T12"
    assert said in finding["message"]


def test_offsets_of_more_tokens_than_a_square_has_room_for_are_looked_at_without_it(
    maskviz: Maskviz, tmp_path: Path
) -> None:
    long = np.array([0, 500_000, 1_000_000], np.int32)
    assert "2 texts of 500000, 500000 tokens" in words(maskviz("check", saved(tmp_path, long)).stdout)
    maskviz("check", saved(tmp_path, long), "--keys", "999999", expect=5)
    assert "more than" in maskviz("convert", saved(tmp_path, long), "--to", "sdpa", expect=2).stderr


def test_packed_texts_are_converted_causal_or_not(maskviz: Maskviz, tmp_path: Path) -> None:
    names = np.repeat([1, 2, 3], [3, 2, 5])
    texts = names[:, None] == names
    for more, expected in (((), texts), (("--causal",), np.tril(texts))):
        file = saved(tmp_path, OFFSETS)
        answer = maskviz("convert", file, "--to", "sdpa", *more, "-o", str(tmp_path / "sdpa.npy"))
        assert np.array_equal(np.load(tmp_path / "sdpa.npy")[0, 0], expected)
        assert ("causal is the model's" in answer.stderr) is not bool(more)
    np.save(tmp_path / "square.npy", texts[None, None])
    maskviz("convert", str(tmp_path / "square.npy"), "--to", "cu-seqlens", "-o", str(tmp_path / "offsets.npy"))
    assert np.load(tmp_path / "offsets.npy").tolist() == OFFSETS.tolist()
    refused = maskviz("convert", str(tmp_path / "square.npy"), "--to", "cu-seqlens", "--causal", expect=2)
    assert "causal=True" in refused.stderr


def test_causal_is_added_to_a_mask_of_keys_alone(maskviz: Maskviz, tmp_path: Path) -> None:
    keep = np.array([[1, 1, 1, 0], [1, 1, 1, 1]])
    maskviz("convert", saved(tmp_path, keep), "--to", "sdpa", "--causal", "-o", str(tmp_path / "sdpa.npy"))
    assert np.array_equal(np.load(tmp_path / "sdpa.npy")[:, 0], np.tril(np.ones((4, 4))) * keep[:, None] == 1)


@pytest.mark.parametrize(
    ("keep", "more"),
    [
        (np.array([[1, 1, 0], [1, 1, 1]], bool), ("--as", "torch-padding")),
        (np.array([[0, 0, 1], [0, 0, 0], [0, 1, 1]]), ()),  # hf-2d
        (np.array([[1, 0, 0], [0, 0, 0]]), ()),
        (np.array([[0, 0, 1], [0, 0, 0]], bool)[:, None, None], ()),  # sdpa
    ],
)
def test_padding_that_is_upside_down_is_inverted_before_a_row_is_dropped(
    maskviz: Maskviz, tmp_path: Path, keep: Any, more: tuple[str, ...]
) -> None:
    answer = maskviz("check", saved(tmp_path, keep), *more, "--format", "json", expect=5)
    first, *others = json.loads(answer.stdout)["findings"]
    assert (first["id"], first["confidence"]) == ("T1", "likely")
    assert "inverted" in first["message"]
    assert ("~mask" if keep.dtype == bool else "1 - mask") in first["message"]
    assert not {"P6", "T1"} & {one["id"] for one in others}


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (np.array([[0, 0, 1], [0, 1, 1]]), []),  # padding on the left
        (np.array([[0, 0, 1], [1, 1, 1]]), []),
        (np.array([[0, 0, 0], [1, 1, 1]]), ["P6"]),
        (np.array([[0, 0, 0], [1, 0, 1]]), ["P6", "P7"]),
        (np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1]]), ["P6"]),
    ],
)
def test_padding_that_may_be_meant_is_not_called_inverted(
    maskviz: Maskviz, tmp_path: Path, keep: Any, expected: list[str]
) -> None:
    answer = maskviz("check", saved(tmp_path, keep), "--as", "hf-2d", "--fail-on", "never", "--format", "json")
    assert [one["id"] for one in json.loads(answer.stdout)["findings"]] == expected


def test_booleans_that_may_be_either_way_round_are_asked_for_and_the_wrong_one_is_named(
    maskviz: Maskviz, tmp_path: Path
) -> None:
    for keep in (np.array([[1, 1, 0], [1, 1, 1]], bool), np.arange(6) < np.array([[6], [3], [4]])):
        answer = maskviz("check", saved(tmp_path, keep), expect=2)
        assert "torch-padding" in answer.stderr
        assert "hf-2d" in answer.stderr
        assert "as torch-padding it would be inverted" in answer.stderr
        right = maskviz("check", saved(tmp_path, ~keep), "--as", "torch-padding", "--fail-on", "note")
        assert "no findings" in right.stdout


@pytest.mark.parametrize(("inverted", "dialect"), [(False, "sdpa"), (True, "torch-mha")])
def test_a_square_of_blocks_may_be_what_it_looks_like(
    maskviz: Callable[..., Response], tmp_path: Path, inverted: bool, dialect: str
) -> None:
    block = np.arange(8) // 2
    np.save(tmp_path / "mask.npy", (block[:, None] >= block[None, :]) ^ inverted)
    answer = maskviz("explain", str(tmp_path / "mask.npy"), "--at", "2,6", expect=2)
    assert f"say which: --as {dialect}" in answer.stderr
    assert "block(2)" in maskviz("explain", str(tmp_path / "mask.npy"), "--at", "2,6", "--as", dialect).stdout
