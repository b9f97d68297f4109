"""`maskviz mlm` on the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Response
from tests.house.test_startup import run_without

Run = Callable[..., Response]
Golden = Callable[[str, str], None]

SENTENCE = "The cat sat on the mat and the dog ran into the house."


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("batch", [SENTENCE, "A dog sat", "--seed", "3"]),
        ("seeds", [SENTENCE, "--seed", "1", "--seeds", "200"]),
        ("whole_word", ["the unbelievable cats", "--seed", "2", "--probability", "0.5", "--whole-word"]),
    ],
)
def test_the_picture_is_the_golden_one(maskviz: Run, golden: Golden, name: str, arguments: list[str]) -> None:
    golden(f"cli_mlm_{name}", maskviz("mlm", *arguments).stdout)


def test_a_seed_draws_the_same_twice_and_another_seed_something_else(maskviz: Run) -> None:
    shown = [maskviz("mlm", SENTENCE, "--seed", seed, "--probability", "0.5").stdout for seed in ("4", "4", "5")]
    assert shown[0] == shown[1] != shown[2]


def test_nothing_selected_is_said(maskviz: Run) -> None:
    assert "Nothing is selected" in maskviz("mlm", SENTENCE, "--probability", "0").stdout


def test_pictures_are_written_and_names_are_checked(maskviz: Run, tmp_path: Path) -> None:
    for suffix in ("png", "svg", "pdf", "txt"):
        maskviz("mlm", SENTENCE, "--seeds", "5", "-o", str(tmp_path / f"mlm.{suffix}"))
        assert (tmp_path / f"mlm.{suffix}").stat().st_size > 500
    assert "format" in maskviz("mlm", SENTENCE, "-o", "x.gif", expect=2).stderr


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["-m", "demo:gpt", "x"], 4),
        (["--probability", "1.5", "x"], 2),
        (["--seeds", "0", "x"], 2),
        ([""], 0),
        ([], 2),
        (["-m", "/nowhere", "x"], 3),
    ],
)
def test_what_is_wrong_ends_with_its_code(maskviz: Run, arguments: list[str], code: int) -> None:
    said = maskviz("mlm", *arguments, expect=code).stderr
    assert code == 0 or len(said.splitlines()) == 2


def test_help_needs_no_heavy_library() -> None:
    assert run_without(("torch", "transformers", "matplotlib", "numpy"), "mlm", "--help").returncode == 0
