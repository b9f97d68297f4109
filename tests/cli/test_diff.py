"""`maskviz diff` on models, backends, saved runs and mask files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskviz import demo
from tests.conftest import Response
from tests.house.test_startup import run_without
from tests.stable import stable

Run = Callable[..., Response]
Golden = Callable[[str, str], None]

SENTENCE = "The cat sat on the mat and the dog ran"


@pytest.fixture(scope="session")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two configs of Gemma 3 without weights, w4 and w6: windows of 4 and of 6 in two of three layers."""
    from transformers import AutoTokenizer, Gemma3TextConfig

    folder = tmp_path_factory.mktemp("windows")
    tokenizer = AutoTokenizer.from_pretrained(demo.folder("gpt"))
    for size in (4, 6):
        config = Gemma3TextConfig(
            vocab_size=len(tokenizer),
            hidden_size=32,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            sliding_window=size,
            layer_types=["full_attention", "sliding_attention", "sliding_attention"],
            pad_token_id=tokenizer.pad_token_id,
            architectures=["Gemma3ForCausalLM"],
        )
        config.save_pretrained(folder / f"w{size}")
        tokenizer.save_pretrained(folder / f"w{size}")
    return folder


@pytest.fixture(scope="session")
def masks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of mask files: causal.npy, window.npy (additive), tokens.pt."""
    folder = tmp_path_factory.mktemp("masks")
    causal = np.tril(np.ones((6, 6), np.bool_))
    np.save(folder / "causal.npy", causal)
    np.save(folder / "window.npy", np.where(causal & ~np.tril(causal, -3), 0, -np.inf).astype(np.float32))
    torch.save(torch.tensor([[1, 1, 1, 1, 0, 0]]), folder / "tokens.pt")
    return folder


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("models", ["-m", "./w4", "--against", "./w6", SENTENCE, "a dog"]),
        ("depth", ["-m", "demo:gpt", "--no-weights", "--against", "./w4", SENTENCE]),
        ("ids", ["-m", "demo:gpt", "--against", "demo:bert", "--no-weights", "--ids", "5 6 7"]),
    ],
)
def test_models_beside_each_other_are_the_golden_picture(
    maskviz: Run, golden: Golden, windows: Path, monkeypatch: pytest.MonkeyPatch, name: str, arguments: list[str]
) -> None:
    monkeypatch.chdir(windows)
    golden(f"cli_diff_{name}", stable(maskviz("diff", *arguments).stdout))


def test_backends_that_let_through_the_same_say_so(maskviz: Run, golden: Golden) -> None:
    shown = maskviz("diff", "-m", "demo:gpt", "The cat sat", "--attn", "eager,sdpa", "--exit-code").stdout
    golden("cli_diff_backends", stable(shown))
    assert "They let through the same cells." in shown


def test_packed_texts_differ_under_flash_attention_only_if_it_is_told_so(maskviz: Run) -> None:
    command = ["diff", "-m", "demo:gpt", "The cat sat.", "The dog.", "--packed", "--attn", "sdpa,flash_attention_2"]
    said = maskviz(*command).stdout
    assert "cannot be run under flash_attention_2 here" in " ".join(said.split())
    assert "only A lets through" in " ".join(said.split())


def test_numbers_that_are_added_and_not_compared_are_told(maskviz: Run, tmp_path: Path) -> None:
    np.save(tmp_path / "biased.npy", np.where(np.tril(np.ones((1, 1, 6, 6), np.bool_)), -0.5, -np.inf))
    np.save(tmp_path / "plain.npy", np.tril(np.ones((1, 1, 6, 6), np.bool_)))
    page = maskviz("diff", str(tmp_path / "biased.npy"), str(tmp_path / "plain.npy")).stdout
    assert "it also adds -0.5 to -0.5, which is not compared" in " ".join(page.split())


def test_one_mask_in_two_dialects_differs_nowhere(maskviz: Run, tmp_path: Path) -> None:
    causal = np.tril(np.ones((6, 6), np.bool_))
    np.save(tmp_path / "attend.npy", causal)
    np.save(tmp_path / "blocked.npy", ~causal)
    pair = (str(tmp_path / "attend.npy"), str(tmp_path / "blocked.npy"))
    maskviz("diff", *pair, "--as", "sdpa", "--as", "torch-mha", "--exit-code")
    assert "21 cells" in maskviz("diff", *pair, "--as", "sdpa", "--exit-code", expect=5).stdout
    assert "given 3 times" in maskviz("diff", *pair, *("--as", "sdpa") * 3, expect=2).stderr


def test_mask_files_beside_each_other_are_the_golden_picture(
    maskviz: Run, golden: Golden, masks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(masks)
    golden("cli_diff_masks", maskviz("diff", "causal.npy", "window.npy").stdout)
    assert maskviz("diff", "causal.npy", "tokens.pt", "--exit-code", expect=5).stdout
    assert maskviz("diff", "causal.npy", "causal.npy", "--exit-code").stdout


def test_saved_runs_are_compared_without_torch(saved_run: Path, tmp_path: Path) -> None:
    counts = tmp_path / "diff.json"
    done = run_without(("torch", "transformers"), "diff", str(saved_run), str(saved_run), "-o", str(counts))
    assert done.returncode == 0, done.stderr
    data: dict[str, Any] = json.loads(counts.read_text())
    assert data["differs"] is False
    assert data["masks"][0]["cells"]["only_a"] == 0
    assert data["masks"][0]["cells"]["both"] > 0


def test_help_needs_no_heavy_library() -> None:
    assert run_without(("torch", "transformers", "matplotlib", "numpy"), "diff", "--help").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["x"], 2, "nothing to compare with"),
        ([], 2, "nothing to compare with"),
        (["a.npz"], 2, "nothing to compare with"),
        (["a.npz", "b.npy"], 2, "no two of a kind"),
        (["a.npz", "b.npz", "--as", "sdpa"], 2, "--as is of mask files"),
        (["a text", "--attn", "eager,sdpa", "--as", "sdpa"], 2, "--as is of mask files"),
        (["a.npz", "b.npz"], 3, "does not exist"),
        (["a.npy", "b.npy"], 3, "does not exist"),
        (["a.npz", "b.npz", "-m", "demo:gpt"], 2, "--model does not go with files"),
        (["x", "--attn", "eager"], 2, "no two backends"),
        (["x", "--attn", "eager,flash"], 2, "no attention backend"),
        (["x", "--attn", "sdpa,sdpa"], 2, "twice"),
        (["x", "--attn", "sdpa,eager", "--against", "demo:gpt"], 2, "given together"),
        (["--attn", "sdpa,eager"], 2, "there is no text"),
        (["the cat", "--against", "demo:gpt"], 4, "token 0 of text 1 is '[CLS]' in A and 'the' in B"),
        (["the cat", "-m", "demo:gpt", "--attn", "sdpa,flex_attention"], 4, "flex_attention"),
        (["x", "--against", "demo:bert", "--text", "2"], 2, "text 2 does not exist"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_hint(maskviz: Run, arguments: list[str], code: int, said: str) -> None:
    lines = maskviz("diff", *arguments, expect=code).stderr.splitlines()
    assert len(lines) == 2
    assert said in lines[0]
    assert lines[1].startswith("  hint: ")
