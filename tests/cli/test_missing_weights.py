"""A folder without its weights file: what needs numbers says that they are missing, and what does not is shown."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from maskviz import demo
from tests.conftest import Response

Run = Callable[..., Response]
MISSING = "(no weights file in the folder: masks alone)"


@pytest.fixture
def bare(tmp_path: Path) -> str:
    """A model's folder whose weights were forgotten."""
    folder = tmp_path / "bare"
    shutil.copytree(demo.folder("gpt"), folder, ignore=shutil.ignore_patterns("*.safetensors"))
    return str(folder)


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", "--head", "0"),
        ("show", "--layer", "1", "--head", "0", "--region", "0:1,0:1"),
        ("show", "--head-mask", "0:1"),
        ("show", "--prove"),
        ("show", "--step", "2"),
        ("show", "--pool", "8"),
        ("show", "--parallel", "auto"),
        ("heads",),
        ("heads", "--probe"),
        ("heads", "--rollout"),
        ("importance",),
        ("prune",),
    ],
    ids=" ".join,
)
def test_what_needs_numbers_says_that_the_weights_are_missing(
    arguments: tuple[str, ...], bare: str, maskviz: Run
) -> None:
    texts = () if "--probe" in arguments else ("the cat sat",)
    said = maskviz(arguments[0], "-m", bare, *texts, *arguments[1:], expect=2).stderr
    assert MISSING in said
    assert "hint: " in said


def test_the_page_of_masks_says_it_too(bare: str, maskviz: Run) -> None:
    said = " ".join(maskviz("show", "-m", bare, "the cat sat").stdout.split())
    assert "no weights file in the folder: masks alone" in said


@pytest.mark.parametrize("model", ["config", "--no-weights"])
def test_where_no_weights_were_asked_for_none_are_missing(model: str, bare: str, maskviz: Run) -> None:
    asked = ("-m", f"{bare}/config.json") if model == "config" else ("-m", "demo:gpt", "--no-weights")
    said = maskviz("show", *asked, "the cat sat", "--head", "0", expect=2).stderr
    assert "--head draws numbers, and there are none (no weights: masks alone)" in said


def test_a_saved_run_without_attention_says_why_it_has_none(bare: str, maskviz: Run, tmp_path: Path) -> None:
    run = str(tmp_path / "run.npz")
    maskviz("show", "-m", bare, "the cat sat", "-o", run)
    assert MISSING in maskviz("view", run, "--head", "0", expect=2).stderr
