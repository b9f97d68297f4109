"""Long runs from the command line: when a run is one, what it keeps, and what is refused."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from maskviz.api.trace import parse_bytes
from maskviz.core.errors import UsageError
from tests.conftest import Response
from tests.stable import stable

Run = Callable[..., Response]
TEXT = "The cat sat on the mat and the dog ran into the house because it was cold, and the cat sat on the dog."


@pytest.mark.parametrize(
    ("name", "arguments"),
    [("heads", []), ("head", ["--layer", "1", "--head", "0", "--rows", "7,-1", "--region", "10:20,0:12"])],
)
def test_the_long_page_is_the_golden_one(
    maskviz: Run, golden: Callable[[str, str], None], name: str, arguments: list[str]
) -> None:
    golden(f"cli_long_{name}", stable(maskviz("show", "-m", "demo:gpt", TEXT, "--pool", "8", *arguments).stdout))


def test_what_would_not_fit_whole_is_added_up_and_says_so(maskviz: Run) -> None:
    whole = maskviz("show", "-m", "demo:gpt", TEXT * 8)
    assert "heads that stand out" in whole.stdout
    assert "added up" not in whole.stderr
    long = maskviz("show", "-m", "demo:gpt", TEXT * 8, "--max-memory", "6MB")
    assert re.search(r"needs about .* MB, 6\.0 MB are to be used; added up in \d+ x \d+ tiles about", long.stderr)
    assert "sampled rows of each call" in long.stdout


def test_a_run_that_cannot_fit_ends_before_it_starts_and_says_what_would(maskviz: Run, tmp_path: Path) -> None:
    refused = maskviz(
        "show", "-m", "demo:gpt", TEXT, "--pool", "64", "--max-memory", "10KB", "-o", str(tmp_path / "f.png"), expect=4
    )
    assert re.search(r"tokens need about .* beside the model, 10 kB are to be used", refused.stderr)
    assert "fit" in refused.stderr.splitlines()[-1]
    assert not list(tmp_path.iterdir())


def test_a_saved_long_run_is_drawn_again(maskviz: Run, tmp_path: Path) -> None:
    arguments = ["show", "-m", "demo:gpt", TEXT, "--pool", "8", "--rows", "7"]
    maskviz(*arguments, "-o", str(tmp_path / "run.npz"))
    assert maskviz("view", str(tmp_path / "run.npz")).stdout == maskviz(*arguments).stdout
    assert "head 1.0: shares" in maskviz("view", str(tmp_path / "run.npz"), "--layer", "1", "--head", "0").stdout
    with np.load(tmp_path / "run.npz") as saved:
        assert saved["call.000.sums"].shape[-2:] == (7, 7)
        np.testing.assert_allclose(saved["call.000.rows"].sum(-1), 1, atol=1e-5)


@pytest.mark.parametrize("target", ["ball.", "ball. red a has Anna Anna has a red ball."])
def test_encoder_and_decoder_may_be_of_any_length(maskviz: Run, target: str) -> None:
    """Shorter or longer than each other: a row that a side does not have is not listed for it."""
    arguments = ["show", "-m", "demo:t5", "Anna has a red ball.", "--target", target, "--pool", "8", "--rows", "1"]
    shown = maskviz(*arguments, "--all").stdout
    for stack in ("encoder", "decoder", "cross"):
        assert f"{stack} attention of each head" in shown
    assert "query 1 " in maskviz(*arguments, "--stack", "cross", "--layer", "0", "--head", "0").stdout


def test_a_region_of_a_short_text_is_drawn_whole(maskviz: Run) -> None:
    shown = maskviz("show", "-m", "demo:gpt", TEXT, "--layer", "0", "--head", "3", "--region", "10:14,5:12").stdout
    assert "head 0.3, queries 10-13, keys 5-11" in shown


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--pool", "8", "--head-mask", "0:1"], 2, "--pool and --head-mask are given together"),
        (["--rows", "3", "--prove"], 2, "--rows and --prove are given together"),
        (["--pool", "8", "--past", "3"], 2, "--pool and --past are given together"),
        (["--rows", "300"], 2, "row 300"),
        (["--pool", "8", "--region", "4:2,0:1"], 2, "region, queries"),
        (["--pool", "8", "--layer", "9"], 2, "layer 9"),
        (["--max-memory", "lots"], 2, "--max-memory 'lots' is no size"),
        (["--pool", "8", "--no-weights"], 2, "a long run adds up numbers, and there are none"),
    ],
)
def test_what_cannot_be_is_refused_in_a_line(maskviz: Run, arguments: list[str], code: int, said: str) -> None:
    refused = maskviz("show", "-m", "demo:gpt", TEXT, *arguments, expect=code)
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("text", "size"), [("8GB", 8 * 10**9), ("500 mb", 5 * 10**8), ("1.5", 15 * 10**8), ("2GiB", 2**31)]
)
def test_sizes_are_read(text: str, size: int) -> None:
    assert parse_bytes(text) == size


@pytest.mark.parametrize("text", ["", "0", "-3GB", "GB", "3 apples"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_bytes(text)
