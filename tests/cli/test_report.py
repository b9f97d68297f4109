"""`-o report.html` and `show --check` on the command line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Response

Run = Callable[..., Response]


def data(path: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text("utf-8"), re.DOTALL)
    assert found is not None
    report: dict[str, Any] = json.loads(found[1])
    return report


def test_show_writes_a_report_beside_other_files_and_view_writes_it_again(maskviz: Run, tmp_path: Path) -> None:
    page, saved, again = tmp_path / "a.html", tmp_path / "a.npz", tmp_path / "b.html"
    maskviz("show", "The cat sat.", "A dog.", "--head", "2", "--scale", "log", "-o", str(page), "-o", str(saved))
    maskviz("view", str(saved), "-o", str(again))
    first, second = data(page), data(again)
    assert first["opens"] == {"call": 0, "head": 2, "text": 0, "scale": "log"}
    for name in ("calls", "masks", "axes", "levels", "evidence"):
        assert first[name] == second[name]
    assert ["model", "demo:bert"] in first["facts"]
    assert [note["text"] for note in first["findings"]] == []


def test_a_what_if_has_both_runs_and_what_changed(maskviz: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    maskviz("show", "The cat [MASK].", "--head-mask", "0:1", "-o", str(path))
    report = data(path)
    assert all("before" in call for call in report["calls"])
    assert report["calls"][0]["gates"] == [1, 0, 1, 1]
    assert {panel["kind"] for panel in report["changes"]} >= {"note", "table", "matrix"}


def test_layers_that_are_chosen_are_those_in_the_report(maskviz: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    maskviz("show", "The cat sat.", "--layer", "1,3", "-o", str(path))
    assert [call["layer"] for call in data(path)["calls"]] == [1, 3]


def test_check_finds_in_the_run_that_is_shown_what_check_finds(maskviz: Run, tmp_path: Path) -> None:
    path, found = tmp_path / "a.html", tmp_path / "found.json"
    batch = ("-m", "demo:gpt", "The cat sat on the mat.", "A dog.", "--padding-side", "left")
    shown = maskviz("show", *batch, "--check", "-o", str(path), expect=5)
    maskviz("check", *batch, "-o", str(found), expect=5)
    ids = [finding["id"] for finding in json.loads(found.read_text())["findings"]]
    told = [note["text"].split()[0] for note in data(path)["findings"] if note["tone"] == "warning"]
    assert ids
    assert told == list(dict.fromkeys(ids))
    assert "wrote" in shown.stderr
    assert f"{ids[0]} error" in maskviz("show", *batch, "--check", expect=5).stdout


def test_a_report_opens_at_the_head_that_stands_out_most_and_knows_what_heads_do(maskviz: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    text = "stone river lamp apple dog green seven stone river lamp apple dog green"
    maskviz("show", "-m", "demo:gpt", text, "-o", str(path))
    report = data(path)
    first = report["heads"][0]
    assert first["standsOut"].startswith("induction ")
    assert (report["opens"]["call"], report["opens"]["head"]) == (first["call"], first["head"]) != (0, 0)
    brief = maskviz("show", "-m", "demo:gpt", text, "--brief").stdout
    number = report["calls"][first["call"]]["layer"]
    assert f"heads that stand out: {number}.{first['head']} {first['standsOut']}" in " ".join(brief.split())
    roles = {name for one in report["heads"] for name, _ in one["roles"]}
    assert roles <= set(report["roles"])


def test_a_layer_that_is_chosen_is_what_a_report_opens_at(maskviz: Run, tmp_path: Path) -> None:
    path = tmp_path / "a.html"
    maskviz("show", "The cat sat on the mat and the cat sat.", "--layer", "2,3", "-o", str(path))
    assert {**data(path)["opens"], "text": 0} == {"call": 0, "head": 0, "text": 0, "scale": "linear"}


def test_lines_are_drawn_in_the_terminal_and_in_files_and_again_from_a_saved_run(maskviz: Run, tmp_path: Path) -> None:
    saved, figure = tmp_path / "run.npz", tmp_path / "lines.svg"
    ask = ("--layer", "1", "--head", "2", "--lines")
    first = maskviz("show", "The cat sat.", *ask).stdout
    maskviz("show", "The cat sat.", *ask, "-o", str(figure), "-o", str(saved))
    assert " → " in first
    assert "head 1.2" in first
    assert "head 1.2" in figure.read_text("utf-8")
    assert " → " in maskviz("view", str(saved), "--lines").stdout
    assert "mean of the 4 heads of layer 1" in maskviz("view", str(saved), "--lines", "--layer", "1").stdout


def test_a_saved_long_run_has_no_lines(maskviz: Run, tmp_path: Path) -> None:
    saved = tmp_path / "long.npz"
    maskviz("show", "The cat sat on the mat.", "--pool", "8", "-o", str(saved))
    assert "--lines draws each weight" in maskviz("view", str(saved), "--lines", expect=2).stderr


def test_a_long_run_has_no_report(maskviz: Run, tmp_path: Path) -> None:
    saved = tmp_path / "long.npz"
    maskviz("show", "The cat sat on the mat.", "--pool", "8", "-o", str(saved))
    said = maskviz("view", str(saved), "-o", str(tmp_path / "a.html"), expect=2).stderr
    assert "a report shows every cell" in said
    assert not (tmp_path / "a.html").exists()


def test_check_without_an_error_ends_well(maskviz: Run) -> None:
    assert "no findings" in maskviz("show", "The cat sat.", "--check").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--pool", "8", "-o", "a.html"], "--pool and -o a.html are given together"),
        (["--rows", "1", "-o", "a.html"], "--rows and -o a.html are given together"),
        (["--pool", "8", "--lines"], "--pool and --lines are given together"),
        (["--brief", "--lines"], "--lines and --brief are given together"),
        (["--only", "mask", "--lines"], "--lines and --only are given together"),
        (["--check", "--past", "1"], "--check and --past are given together"),
        (["--check", "--mask", "m.npy"], "--check and --mask are given together"),
    ],
)
def test_what_a_report_or_a_check_cannot_have_is_said_before_a_model_is_loaded(
    maskviz: Run, arguments: list[str], said: str
) -> None:
    assert said in maskviz("show", "x", "-m", "./nowhere", *arguments, expect=2).stderr


@pytest.mark.parametrize("command", [("heads", "x"), ("mask", "causal", "--length", "9"), ("mlm", "x")])
def test_commands_without_a_report_say_who_writes_one(
    maskviz: Callable[..., Response], tmp_path: Path, command: tuple[str, ...]
) -> None:
    response = maskviz(*command, "-o", str(tmp_path / "x.html"), expect=2)
    assert "only show and view write a report" in response.stderr
    assert list(tmp_path.iterdir()) == []
