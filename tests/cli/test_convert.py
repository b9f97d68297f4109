"""`maskviz convert`: files in and out, pictures, code, and what is refused in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from maskviz.core.words import Dialect
from tests.conftest import Response

Maskviz = Callable[..., Response]
Golden = Callable[[str, str], None]

KEEP = np.array([[1] * 6, [1] * 4 + [0] * 2])
CAUSAL = np.tril(np.ones((6, 6), bool))
BOTH = (CAUSAL & (KEEP == 1)[:, None, :])[:, None]


def saved(folder: Path, array: Any, name: str = "mask.npy") -> str:
    np.save(folder / name, array)
    return str(folder / name)


def test_the_table_of_the_dialects(maskviz: Maskviz, golden: Golden) -> None:
    answer = maskviz("convert", "--list")
    golden("cli_convert_list", answer.stdout)
    assert all(f"\n{dialect} " in answer.stdout for dialect in Dialect)


def test_without_a_file_to_write_the_mask_is_drawn_and_what_it_would_be_is_said(
    maskviz: Maskviz, golden: Golden, tmp_path: Path
) -> None:
    file = saved(tmp_path, KEEP)
    golden("cli_convert", maskviz("convert", file, "--from", "hf-2d", "--to", "torch-mha", "--heads", "8").stdout)
    assert [one.name for one in tmp_path.iterdir()] == ["mask.npy"]


def test_a_mask_no_rule_explains_is_drawn_without_reasons(maskviz: Maskviz, golden: Golden, tmp_path: Path) -> None:
    cells = np.random.default_rng(3).random((1, 2, 4, 4)) < 0.6
    cells[0, 0, 1] = False
    golden("cli_convert_cells", maskviz("convert", saved(tmp_path, cells), "--from", "sdpa", "--to", "hf-4d").stdout)


def test_a_head_mask_is_drawn_with_its_words(maskviz: Maskviz, golden: Golden, tmp_path: Path) -> None:
    file = saved(tmp_path, np.array([1, 0, 0.5]))
    arguments = ("convert", file, "--from", "head-mask", "--to", "head-mask")
    golden("cli_convert_heads", maskviz(*arguments, "--layers", "2").stdout)
    assert '--head-mask "*:1; *:2=0.5"' in maskviz(*arguments).stdout
    target = tmp_path / "gates.json"
    maskviz(*arguments, "--layers", "2", "-o", str(target))
    assert json.loads(target.read_text()) == [[1, 0, 0.5]] * 2
    again = maskviz("convert", str(target), "--from", "head-mask", "--to", "head-mask", "--layers", "1")
    assert "float32 [3]" in again.stdout


@pytest.mark.parametrize("suffix", [".npy", ".pt", ".safetensors"])
def test_a_file_is_written_in_each_format(maskviz: Maskviz, tmp_path: Path, suffix: str) -> None:
    target = tmp_path / f"mha{suffix}"
    arguments = ("convert", saved(tmp_path, KEEP), "--from", "hf-2d", "--to", "torch-mha", "--heads", "8")
    answer = maskviz(*arguments, "-o", str(target))
    assert answer.stdout == ""
    assert answer.stderr.splitlines() == [
        f"wrote {target}",
        "as many queries as keys, 6; --queries says otherwise",
        "torch-mha: bool [16, 6, 6], True = blocked",
    ]
    if suffix == ".npy":
        written = torch.from_numpy(np.load(target))
    else:
        written = torch.load(target) if suffix == ".pt" else load_file(target)["mask"]
    expected = torch.from_numpy(KEEP == 0)[:, None, :].expand(2, 6, 6).repeat_interleave(8, dim=0)
    assert torch.equal(written, expected)


def test_sixteen_bits_block_with_their_own_least_number(maskviz: Maskviz, tmp_path: Path) -> None:
    file = saved(tmp_path, BOTH)
    for dtype in (torch.float16, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        target = tmp_path / f"{name}.pt"
        maskviz("convert", file, "--from", "sdpa", "--to", "hf-4d", "--dtype", name, "-o", str(target))
        written = torch.load(target)
        assert written.dtype is dtype
        assert float(written.min()) == torch.finfo(dtype).min
        back = tmp_path / "back.npy"
        maskviz("convert", str(target), "--from", "hf-4d", "--to", "sdpa", "-o", str(back))
        assert np.array_equal(np.load(back), BOTH)


def test_python_is_printed_alone_and_builds_the_mask(maskviz: Maskviz, tmp_path: Path) -> None:
    answer = maskviz("convert", saved(tmp_path, BOTH), "--to", "python")
    assert "read as sdpa" in answer.stderr
    assert len(answer.stdout.splitlines()) == 3
    names: dict[str, Any] = {}
    exec(answer.stdout, names)
    assert np.array_equal(names["visible"].numpy(), BOTH)
    target = tmp_path / "mask.py"
    maskviz("convert", saved(tmp_path, BOTH), "--to", "python", "-o", str(target))
    assert target.read_text() == answer.stdout


def test_a_mask_mod_is_written_and_its_cells_come_back_as_a_mask(maskviz: Maskviz, tmp_path: Path) -> None:
    file, code, cells = saved(tmp_path, BOTH), tmp_path / "flex.py", tmp_path / "flex.safetensors"
    maskviz("convert", file, "--from", "sdpa", "--to", "flex", "-o", str(code), "-o", str(cells))
    names: dict[str, Any] = {}
    exec(code.read_text(), names)
    assert names["block_mask"].shape == (2, 1, 6, 6)
    back = tmp_path / "back.npy"
    maskviz("convert", str(cells), "--from", "flex", "--to", "sdpa", "-o", str(back))
    assert np.array_equal(np.load(back), BOTH)


def test_an_unknown_mask_has_no_code_and_ends_with_4_with_its_cells_as_the_way_out(
    maskviz: Maskviz, tmp_path: Path
) -> None:
    file = saved(tmp_path, np.random.default_rng(0).random((1, 1, 6, 6)) < 0.5)
    answer = maskviz("convert", file, "--from", "sdpa", "--to", "python", expect=4)
    assert answer.stdout == ""
    assert "no known rule explains this mask" in answer.stderr
    code = tmp_path / "flex.py"
    answer = maskviz("convert", file, "--from", "sdpa", "--to", "flex", "-o", str(code), expect=4)
    assert "-o mask.safetensors keeps its cells" in answer.stderr
    assert not code.exists()


def test_nothing_is_written_where_one_of_several_files_cannot_be(maskviz: Maskviz, tmp_path: Path) -> None:
    file, first, second = saved(tmp_path, BOTH), tmp_path / "a.pt", tmp_path / "b.npy"
    arguments = ("convert", file, "--from", "sdpa", "--to", "hf-4d", "--dtype", "bfloat16")
    answer = maskviz(*arguments, "-o", str(first), "-o", str(second), expect=2)
    assert "numpy has no bfloat16" in answer.stderr
    assert not first.exists() and not second.exists()


def test_the_file_that_is_read_is_not_written_over(maskviz: Maskviz, tmp_path: Path) -> None:
    file = saved(tmp_path, BOTH)
    before = Path(file).read_bytes()
    answer = maskviz("convert", file, "--from", "sdpa", "--to", "hf-4d", "-o", file, expect=2)
    assert "is the file that is read" in answer.stderr
    assert Path(file).read_bytes() == before


def test_a_dialect_is_guessed_where_it_is_plain_and_asked_for_where_it_is_not(maskviz: Maskviz, tmp_path: Path) -> None:
    plain: list[tuple[Any, str]] = [
        (KEEP, "hf-2d"),
        (KEEP.astype(np.float32), "hf-2d"),
        (CAUSAL, "sdpa"),
        (~CAUSAL, "torch-mha"),
        (np.tril(np.ones((3, 6), bool)), "sdpa"),
        (BOTH, "sdpa"),
        (BOTH[:, 0], "keras"),
        (np.repeat(~BOTH[:, 0], 2, axis=0), "torch-mha"),
        (np.where(BOTH, 0, -1e9), "hf-4d"),
        (np.where(CAUSAL, 0, -np.inf), "torch-mha-float"),
    ]
    for array, dialect in plain:
        answer = maskviz("convert", saved(tmp_path, array), "--to", "sdpa", "--batch", "2", "--heads", "2")
        assert f"read as {dialect}," in " ".join(answer.stdout.split()), dialect
    unclear = np.random.default_rng(0).random((2, 6)) < 0.5
    answer = maskviz("convert", saved(tmp_path, unclear), "--to", "sdpa", expect=2)
    assert "may be sdpa or torch-mha or torch-padding" in answer.stderr


@pytest.mark.parametrize(
    ("array", "arguments", "said"),
    [
        (KEEP, ("--from", "hf-2d", "--to", "xla"), "there is no such dialect to write"),
        (KEEP, ("--from", "hf-2d", "--to", "weights"), "there is no such dialect to write"),
        (KEEP, ("--from", "hf-2d"), "a mask file and --to are needed"),
        (KEEP, ("--from", "hf-2d", "--to", "torch-mha"), "the heads are not said"),
        (KEEP, ("--from", "hf-2d", "--to", "sdpa", "--keys", "9"), "--keys says 9"),
        (KEEP, ("--from", "hf-2d", "--to", "head-mask"), "nothing of tokens"),
        (KEEP, ("--from", "head-mask", "--to", "sdpa"), "nothing of tokens"),
        (KEEP, ("--from", "hf-2d", "--to", "python", "-o", "mask.npy"), "cannot tell the format"),
        (KEEP, ("--from", "hf-2d", "--to", "sdpa", "-o", "mask.py"), "cannot tell the format"),
        (np.full((1, 1, 2, 2), 0.25), ("--from", "weights", "--to", "sdpa"), "no mask"),
        (BOTH, ("--from", "sdpa", "--to", "hf-2d"), "this mask differs between queries 0 and 1"),
        (np.where(BOTH, -0.5, -1e9), ("--from", "hf-4d", "--to", "sdpa"), "also adds numbers from -0.5 to -0.5"),
        (BOTH[:, 0], ("--from", "torch-mha", "--to", "sdpa", "--heads", "4"), "batch·4 masks, and this one 2"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line_and_a_hint(
    maskviz: Maskviz, tmp_path: Path, array: Any, arguments: tuple[str, ...], said: str
) -> None:
    answer = maskviz("convert", saved(tmp_path, array), *arguments, expect=2)
    assert said in answer.stderr
    assert answer.stderr.count("\n") == 2 and "hint: " in answer.stderr


HOSTILE: dict[str, Any] = {
    "nothing": np.zeros((0, 0)),
    "no keys": np.zeros((2, 0), np.int64),
    "one number": np.float32(1),
    "five axes": np.ones((1, 1, 1, 2, 2), bool),
    "NaN": np.full((1, 1, 2, 2), np.nan),
    "infinite": np.full((1, 1, 2, 2), np.inf),
    "complex": np.ones((2, 2), complex),
    "words": np.array([["a", "b"]]),
    "times": np.array([["2020-01-01"]], "datetime64[D]"),
    "records": np.zeros(2, [("a", "i4"), ("b", "f4")]),
    "long numbers": np.ones((1, 2), np.longdouble),
    "large numbers": np.full((1, 2), 2**63, np.uint64),
    "negative": np.array([[-1, 1]]),
}


@pytest.mark.parametrize("dialect", list(Dialect))
@pytest.mark.parametrize("name", list(HOSTILE))
def test_a_hostile_array_is_an_error_in_words_or_a_page_and_never_a_crash(
    maskviz: Maskviz, tmp_path: Path, name: str, dialect: Dialect
) -> None:
    file = saved(tmp_path, HOSTILE[name])
    for command in (
        ("convert", file, "--from", dialect, "--to", "head-mask" if dialect is Dialect.HEAD_MASK else "sdpa"),
        ("check", file, "--as", dialect),
        ("check", file),
    ):
        assert "Traceback" not in maskviz(*command, expect=(0, 2, 3, 5)).stderr


@pytest.mark.parametrize("name", ["mask.npz", "mask", "mask.txt", "missing.npy", "folder.npy", "code.py", "text.npy"])
def test_what_is_no_mask_file_is_said(maskviz: Maskviz, tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.npy").mkdir()
    (tmp_path / "text.npy").write_text("no mask")
    answer = maskviz("convert", str(tmp_path / name), "--from", "sdpa", "--to", "hf-4d", expect=(2, 3))
    assert answer.stderr.startswith("maskviz: error: ")
    assert answer.stderr.count("\n") == 2
