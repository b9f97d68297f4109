"""Options of mask files say what is there in place of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Response

Run = Callable[..., Response]
OPTIONS = (("--as", "sdpa"), ("--window", "3"), ("--queries", "5"))


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option[0])
def test_what_stands_in_a_mask_files_place_is_named(option: tuple[str, str], maskviz: Run, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("a text", encoding="utf-8")
    for subject, said in (
        (str(tmp_path), f"{option[0]} is of a mask file, and {str(tmp_path)!r} is a folder"),
        (str(note), "does not end in one of .npy"),
        ("some words", f"{option[0]} is of a mask file, and 'some words' is a text"),
        ("x" * 5000, "is a text"),
    ):
        assert said in maskviz("check", subject, *option, expect=2).stderr
    assert f"a model is checked with --model: maskviz check -m {tmp_path}" in (
        maskviz("check", str(tmp_path), *option, expect=2).stderr
    )
    assert "and none is given" in maskviz("check", "-m", "demo:gpt", *option, expect=2).stderr
