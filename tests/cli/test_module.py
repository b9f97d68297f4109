"""A module of the user's own at the command line: what it shows, and what is said of what is no module."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Response

Run = Callable[..., Response]

SOURCE = """
import torch
from torch import nn


def build():
    torch.manual_seed(0)
    return nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 2)


class Fused(nn.Module):
    n_head = 4

    def __init__(self):
        super().__init__()
        self.projections = nn.Linear(16, 48)

    def forward(self, x):
        rows, length, _ = x.shape
        query, key, value = (
            part.view(rows, length, 4, 4).transpose(1, 2) for part in self.projections(x).split(16, 2)
        )
        mixed = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
        return mixed.transpose(1, 2).reshape(rows, length, 16)


class Raising(nn.Module):
    def forward(self, src):
        return self.inner(src)

    def inner(self, src):
        raise ValueError("no such thing")


def needs(path):
    return path


def fails():
    raise RuntimeError("no checkpoint here")


def number():
    return 5


module = build()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(SOURCE, encoding="utf-8")
    (tmp_path / "broken.py").write_text("import nothing_like_it\n", encoding="utf-8")
    rng = np.random.default_rng(0)
    src, padding = rng.standard_normal((2, 6, 16)), np.array([[False] * 6, [False] * 4 + [True] * 2])
    np.savez("batch.npz", src=src, src_key_padding_mask=padding)
    np.savez("inverted.npz", src=src, src_key_padding_mask=~padding)
    np.savez("long.npz", x=rng.standard_normal((1, 300, 16)))
    (tmp_path / "words.json").write_text(json.dumps([list("abcdef")] * 2), encoding="utf-8")
    return tmp_path


def test_show_draws_the_masks_and_heads_of_a_module_under_its_labels(maskviz: Run, folder: Path) -> None:
    said = maskviz("show", "--module", "model.py:build", "--inputs", "batch.npz", "--labels", "words.json").stdout
    assert "model.py:build · TransformerEncoder · 2 layers × 4 heads" in said
    assert "text 2  0 a │ 1 b │ 2 c │ 3 d │ 4 e │ 5 f" in said
    assert "all layers, text 2: padding" in said


@pytest.mark.parametrize("command", ["show", "heads", "importance"])
def test_a_name_may_be_a_callable_or_a_module_itself(maskviz: Run, folder: Path, command: str) -> None:
    built, own = (
        maskviz(command, "--module", f"model.py:{name}", "--inputs", "batch.npz").stdout for name in ("build", "module")
    )
    assert built.replace("model.py:build", "model.py:module").split() == own.split()


def test_check_finds_a_padding_mask_upside_down(maskviz: Run, folder: Path) -> None:
    assert "no findings" in maskviz("check", "--module", "model.py:build", "--inputs", "batch.npz").stdout
    wrong = maskviz("check", "--module", "model.py:build", "--inputs", "inverted.npz", expect=5).stdout
    assert "T1 error inverted-bool" in wrong
    found = maskviz(
        *("check", "--module", "model.py:build", "--inputs", "inverted.npz", "--format", "json", "--fail-on", "never")
    ).stdout
    assert [one["id"] for one in json.loads(found)["findings"]] == ["T1"]


def test_proof_and_check_of_a_run_that_is_shown(maskviz: Run, folder: Path) -> None:
    given = ("--module", "model.py:build", "--inputs", "batch.npz", "--prove", "--check")
    said = maskviz("show", *given).stdout
    assert "Proven: every cell that was asked is as its mask says." in said
    assert "no findings" in said


def test_a_long_input_is_added_up_and_rows_of_it_are_those_of_the_whole_maps(maskviz: Run, folder: Path) -> None:
    given = ("show", "--module", "model.py:Fused", "--inputs", "long.npz", "-o")
    maskviz(*given, "pooled.npz", "--pool", "30", "--rows", "7,299")
    maskviz(*given, "whole.npz")
    with np.load("pooled.npz") as pooled, np.load("whole.npz") as whole:
        np.testing.assert_allclose(pooled["call.000.rows"], whole["call.000.pattern"][:, :, [7, 299]], atol=2e-6)
        tiles = whole["call.000.pattern"].reshape(1, 4, 30, 10, 30, 10).sum(axis=(3, 5))
        np.testing.assert_allclose(pooled["call.000.sums"], tiles, atol=1e-5)


def test_pruning_saves_a_mask_that_show_takes(maskviz: Run, folder: Path) -> None:
    given = ("--module", "model.py:build", "--inputs", "batch.npz")
    maskviz("prune", *given, "--keep", "0.5", "--random", "1", "--save", "mask.json")
    assert "silenced 4 heads" in maskviz("show", *given, "--head-mask", "@mask.json").stdout


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("show", "--module", "model.py:build"), 2, "there are no inputs for model.py:build"),
        (("show", "--module", "model.py", "--inputs", "batch.npz"), 2, "'model.py' names no module"),
        (("show", "--module", "other.py:build", "--inputs", "batch.npz"), 3, "there is no file 'other.py'"),
        (("show", "--module", "no.such.package:x", "--inputs", "batch.npz"), 3, "there is no Python module 'no'"),
        (("show", "--module", "model.py:biuld", "--inputs", "batch.npz"), 3, "did you mean build?"),
        (("show", "--module", "model.py:needs", "--inputs", "batch.npz"), 2, "missing 1 required positional argument"),
        (("show", "--module", "model.py:fails", "--inputs", "batch.npz"), 4, "raises RuntimeError: no checkpoint here"),
        (("show", "--module", "model.py:number", "--inputs", "batch.npz"), 2, "no torch module or Keras model (int)"),
        (
            ("show", "--module", "broken.py:x", "--inputs", "batch.npz"),
            3,
            "there is no Python module 'nothing_like_it'",
        ),
        (("show", "--module", "model.py:Raising", "--inputs", "batch.npz"), 2, "takes no 'src_key_padding_mask'"),
        (("show", "--module", "model.py:build", "--inputs", "none.npz"), 3, "none.npz"),
        (("show", "--module", "model.py:build", "--inputs", "batch.npz", "a text"), 2, "a text"),
        (("show", "--module", "model.py:build", "--inputs", "batch.npz", "--past", "2"), 2, "--past"),
        (("show", "--module", "model.py:build", "--inputs", "batch.npz", "--attn", "sdpa"), 2, "--attn"),
        (("show", "--module", "model.py:build", "--inputs", "batch.npz", "--labels", "model.py"), 2, "--labels"),
        (("show", "--labels", "words.json", "a text"), 2, "--labels is of a module of your own"),
        (
            ("prune", "--module", "model.py:build", "--inputs", "batch.npz", "--keep", "0.5", "--export", "out"),
            2,
            "--export",
        ),
        (("importance", "--module", "model.py:build", "--inputs", "batch.npz", "--method", "gradient"), 2, "slopes"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_hint(
    maskviz: Run, folder: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    said = maskviz(*arguments, expect=code).stderr
    assert says in said
    lines = [line for line in said.splitlines() if line.startswith(("maskviz: error:", "  hint:"))]
    assert len(lines) == 2
    assert not (folder / "out").exists()


def test_the_modules_own_traceback_is_printed_where_it_is_asked_for(maskviz: Run, folder: Path) -> None:
    np.savez("src.npz", src=np.zeros((1, 3, 16)))
    given = ("show", "--module", "model.py:Raising", "--inputs", "src.npz")
    plain = maskviz(*given, expect=4).stderr
    assert "Raising fails on these inputs: ValueError: no such thing" in plain
    assert "Traceback" not in plain
    whole = maskviz(*given, "--traceback", expect=4).stderr
    assert "Traceback" in whole
    assert "in inner" in whole
