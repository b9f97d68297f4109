"""Python asks what the shell asks, and is told the same to the digit."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from typer.core import TyperGroup
from typer.main import get_command

import maskviz
from maskviz.api.answer import Answer
from maskviz.api.runs.options import OWN_RANGES, RANGES
from maskviz.api.shown import Trace
from maskviz.cli.app import app
from tests.conftest import Response

Shell = Callable[..., Response]
TEXTS = ("the cat sat in the house", "the dog ran")
RULE = "causal & window(3)"


@dataclass(frozen=True)
class Files:
    """What is asked about.

    Attributes:
        mask, blocked: One padding as transformers says it, and as torch does.
        run, saved: A run, and the file of it.
    """

    mask: Path
    blocked: Path
    run: Trace
    saved: Path


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    folder = tmp_path_factory.mktemp("asked")
    keep = np.array([[1, 1, 1, 0], [1, 1, 1, 1]])
    np.save(folder / "keep.npy", keep)
    np.save(folder / "blocked.npy", keep == 0)
    run = maskviz.trace("demo:gpt", TEXTS)
    return Files(folder / "keep.npy", folder / "blocked.npy", run, run.save(folder / "run.npz"))


# The words typed in a shell for each question, and what Python is answered.
QUESTIONS: dict[str, Callable[[Files], tuple[tuple[str, ...], Answer]]] = {
    "check": lambda of: (("check", "-m", "demo:gpt", "--for", "forward", *TEXTS), maskviz.check("demo:gpt", TEXTS)),
    "check a mask": lambda of: (
        ("check", str(of.blocked), "--as", "torch-padding"),
        maskviz.check(mask=of.blocked, dialect="torch-padding"),
    ),
    "explain": lambda of: (
        ("explain", "-m", "demo:gpt", *TEXTS, "--at", "2,5", "--text", "1"),
        maskviz.explain(of.run, query=2, key=5, text=0),
    ),
    "explain a file": lambda of: (("explain", str(of.saved), "--at", "*,3"), maskviz.explain(of.saved, key=3)),
    "explain a mask": lambda of: (
        ("explain", str(of.mask), "--at", "0,3", "--as", "hf-2d"),
        maskviz.explain(of.mask, query=0, key=3, dialect="hf-2d"),
    ),
    "diff": lambda of: (
        ("diff", "-m", "demo:gpt", "--against", "demo:bert", "--ids", "5 17 30 41"),
        maskviz.diff("demo:gpt", "demo:bert", ids=[[5, 17, 30, 41]]),
    ),
    "diff backends": lambda of: (
        ("diff", "-m", "demo:gpt", "--attn", "eager,sdpa", *TEXTS),
        maskviz.diff("demo:gpt", texts=TEXTS, attn=("eager", "sdpa")),
    ),
    "diff masks": lambda of: (
        ("diff", str(of.mask), str(of.blocked), "--as", "hf-2d", "--as", "torch-padding"),
        maskviz.diff(of.mask, of.blocked, dialect=("hf-2d", "torch-padding")),
    ),
    "heads": lambda of: (("heads", "-m", "demo:gpt", "--top", "3", *TEXTS), maskviz.heads("demo:gpt", TEXTS, top=3)),
    "heads of a probe": lambda of: (
        ("heads", "-m", "demo:gpt", "--probe", "--probe-length", "9"),
        maskviz.heads("demo:gpt", probe=True, probe_length=9),
    ),
    "rollout": lambda of: (
        ("heads", "--rollout", "--words", *TEXTS),
        maskviz.heads("demo:bert", TEXTS, rollout=True, words=True),
    ),
    "importance": lambda of: (
        ("importance", "-m", "demo:gpt", "--ablation", "mean", "--top", "2", *TEXTS),
        maskviz.importance("demo:gpt", TEXTS, ablation="mean", top=2),
    ),
    "prune": lambda of: (
        ("prune", "-m", "demo:gpt", "--keep", "0.6", "--random", "1", "--step", "0.4", *TEXTS),
        maskviz.prune("demo:gpt", TEXTS, keep=0.6, random=1, step=0.4),
    ),
    "mask": lambda of: (("mask", RULE, "--length", "1000"), maskviz.mask(RULE, length=1000)),
    "mask of a model": lambda of: (
        ("mask", "-m", "demo:gpt", "--length", "64"),
        maskviz.mask(model="demo:gpt", length=64),
    ),
    "mlm": lambda of: (("mlm", "--seed", "3", *TEXTS), maskviz.mlm("demo:bert", TEXTS, seed=3)),
    "convert": lambda of: (
        ("convert", str(of.mask), "--from", "hf-2d", "--to", "sdpa"),
        maskviz.convert(of.mask, source="hf-2d", target="sdpa"),
    ),
    "info": lambda of: (("info", "demo:gpt"), maskviz.info("demo:gpt")),
}


@pytest.fixture(scope="module", params=QUESTIONS)
def asked(request: pytest.FixtureRequest, files: Files) -> tuple[tuple[str, ...], Answer]:
    """A question with its answer, each asked once for all tests of it."""
    return QUESTIONS[request.param](files)


def test_python_and_the_shell_are_told_the_same(
    asked: tuple[tuple[str, ...], Answer], maskviz: Shell, tmp_path: Path
) -> None:
    words, answer = asked
    page = tmp_path / "page.txt"
    maskviz(*words, "-o", str(page), expect=(0, 5))
    own = answer.save(tmp_path / "own.txt")
    assert in_python(page.read_text("utf-8")) == in_python(own.read_text("utf-8"))
    if ".json" in answer.DATA:
        data = tmp_path / "data.json"
        maskviz(*words, "-o", str(data), expect=(0, 5))
        told = json.loads(in_python(data.read_text("utf-8")))
        mine = json.loads(in_python(json.dumps(answer.to_dict())))
        assert {**told, "command": ""} == {**mine, "command": ""}


def in_python(page: str) -> str:
    """A page with what is written in another way for Python as it is written there."""
    page = " ".join(page.split())
    for shell, python in _WRITTEN.items():
        page = page.replace(shell, python)
    return page


_WRITTEN = {
    "--text N": "text=N",
    "--as": "dialect=",
    "--from": "source=",
    "--position-ids cumsum": "position_ids='cumsum'",
}


def test_an_answer_can_be_looked_at(asked: tuple[tuple[str, ...], Answer], capsys: pytest.CaptureFixture[str]) -> None:
    answer = asked[1]
    assert "\n" not in repr(answer)
    assert len(repr(answer)) < 400
    json.dumps(answer.to_dict())
    assert answer._repr_png_().startswith(b"\x89PNG")
    answer.show()
    assert capsys.readouterr().out


def test_a_reason_as_a_text_is_the_page(files: Files) -> None:
    assert "causal" in str(QUESTIONS["explain"](files)[1])


def test_a_conversion_is_an_array_to_numpy(tmp_path: Path) -> None:
    keep = np.array([[True, True, False], [True, True, True]])
    blocked = maskviz.convert(keep, source="hf-2d", target="torch-mha", heads=2)
    expected = np.repeat(np.broadcast_to(~keep[:, None], (2, 3, 3)), 2, axis=0)  # [batch · heads, query, key]
    np.testing.assert_array_equal(np.asarray(blocked), expected)
    assert blocked.shape == (4, 3, 3)
    assert "key <= query" in str(maskviz.convert(np.tri(4, dtype=bool), source="sdpa", target="python"))


def test_a_pruned_model_is_written_and_its_mask_saved(tmp_path: Path) -> None:
    curve = maskviz.prune("demo:gpt", TEXTS, keep=0.5, random=1, step=0.5)
    assert curve.mask is not None
    assert int(curve.mask.gates["decoder"].sum()) == 6
    saved = curve.save_mask(tmp_path / "mask.json")
    gated = maskviz.trace("demo:gpt", TEXTS, head_mask=f"@{saved}")
    assert gated.head_mask == curve.mask or str(gated.head_mask) == str(curve.mask)


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: maskviz.trace("demo:bert", "the cat", past=9), "past=9 leaves none"),
        (lambda: maskviz.trace("demo:bert", "the cat", past=1, step=1), "past= and step= are given together"),
        (lambda: maskviz.trace("demo:bert", ["a", "b"], packed=True, pad_to=9), "packed= and pad_to= are given"),
        (lambda: maskviz.heads("demo:bert", "the cat", probe=True), "probe= and texts are given together"),
        (lambda: maskviz.heads("demo:gpt", probe=True, probe_length=900), "probe_length=900 is"),
        (lambda: maskviz.importance("demo:gpt", "the cat", method="gradient", measure="loss"), "method='gradient' is"),
        (lambda: maskviz.prune("demo:gpt", "the cat", keep=0.5, within=1), "keep= and within= are given together"),
        (lambda: maskviz.mask("causal", length=9, padding="x"), "padding= is a number"),
        (lambda: maskviz.mask("causal"), "how many tokens is not said"),
        (lambda: maskviz.convert(np.ones((2, 3), int), target="none"), "target= 'none'"),
        (lambda: maskviz.check("demo:gpt", "a", select="Z9"), "select=: there is no rule 'Z9'"),
        (lambda: maskviz.explain(maskviz.trace("demo:gpt", "a"), query=9, key=0), "there is no query 9"),
        (lambda: maskviz.mlm("demo:bert", "the cat", max_length=1), "max_length=1 leaves no room"),
    ],
)
def test_python_is_told_parameters_and_no_flags(ask: Callable[[], object], said: str) -> None:
    with pytest.raises(maskviz.MaskvizError) as raised:
        ask()
    assert said in raised.value.message
    assert "--" not in f"{raised.value.message} {raised.value.hint}"


@pytest.mark.parametrize("name", ["heads", "importance", "prune", "trace", "check", "info", "mlm", "diff", "convert"])
def test_an_unknown_option_is_a_type_error(name: str) -> None:
    with pytest.raises(TypeError, match=f"{name}\\(\\) got an unexpected keyword argument 'nothing'"):
        getattr(maskviz, name)(*["demo:gpt", "a text"][: 1 + (name == "mlm")], nothing=1)


def test_heads_read_a_trace_that_was_made_already() -> None:
    run = maskviz.trace("demo:gpt", TEXTS)
    assert maskviz.heads(run).to_dict() == maskviz.heads("demo:gpt", TEXTS).to_dict()


def test_numbers_have_the_ranges_of_the_command_line() -> None:
    group = get_command(app)
    assert isinstance(group, TyperGroup)
    # Of pictures, of texts that are counted otherwise, of the shell alone.
    drawing = ("dpi", "columns", "text", "text_number", "pool")
    seen = set()
    for command, own in group.commands.items():
        for one in own.params:
            ends = getattr(one, "min", None), getattr(one, "max", None)
            if ends == (None, None) or one.name in drawing:
                continue
            assert one.name is not None
            assert OWN_RANGES.get((command, one.name), RANGES.get(one.name)) == ends, (command, one.name)
            seen.add(one.name)
    assert seen == set(RANGES) | {name for _, name in OWN_RANGES}


@pytest.mark.parametrize(
    ("ask", "said"),
    [
        (lambda: maskviz.trace("demo:gpt", "the cat", past=-1), "past=-1 is out of range"),
        (lambda: maskviz.trace("demo:gpt", "the cat", step=cast("int", 1.5)), "step=1.5 is no whole number"),
        (lambda: maskviz.prune("demo:gpt", "the cat", step=0), "step=0 is out of range"),
        (lambda: maskviz.mask("causal", length=-3), "length=-3 is out of range"),
        (lambda: maskviz.mlm("demo:bert", "the cat", seeds=0), "seeds=0 is out of range"),
        (lambda: maskviz.mlm("demo:bert", "the cat", probability=float("nan")), "probability=nan is out of range"),
        (lambda: maskviz.info("demo:bert", length=10**6), "length=1000000 is out of range"),
        (lambda: maskviz.explain(np.tri(3, dtype=bool), query=cast("int", "2")), "query='2' is no number"),
    ],
)
def test_a_number_out_of_range_is_refused(ask: Callable[[], object], said: str) -> None:
    with pytest.raises(maskviz.MaskvizError) as raised:
        ask()
    assert said in raised.value.message
