"""`maskviz explain` on real runs, saved runs and wrong coordinates."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Response
from tests.house.test_startup import run_without

Run = Callable[..., Response]
Golden = Callable[[str, str], None]

SENTENCE = "The cat sat on the mat and the dog ran"


@pytest.fixture(scope="session")
def sliding(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gemma 3 with one full layer and two windows of 4, without weights."""
    from transformers import AutoTokenizer, Gemma3TextConfig

    from maskviz import demo

    folder = tmp_path_factory.mktemp("sliding") / "sliding"
    tokenizer = AutoTokenizer.from_pretrained(demo.folder("gpt"))
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        sliding_window=4,
        layer_types=["full_attention", "sliding_attention", "sliding_attention"],
        pad_token_id=tokenizer.pad_token_id,
        architectures=["Gemma3ForCausalLM"],
    )
    config.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("cell", [SENTENCE, "--at", "9,2"]),
        ("row", [SENTENCE, "--at", "6,*", "--layer", "1"]),
        ("column", [SENTENCE, "a dog", "--text", "2", "--at", "*,8", "--layer", "-1"]),
        ("packed", ["The cat sat", "the dog ran", "--packed", "--no-cache", "--at", "-1,0", "--layer", "2"]),
        ("past", [SENTENCE, "--past", "8", "--at", "9,4", "--layer", "1"]),
    ],
)
def test_the_answer_is_the_golden_one(
    maskviz: Run, golden: Golden, sliding: Path, monkeypatch: pytest.MonkeyPatch, name: str, arguments: list[str]
) -> None:
    monkeypatch.chdir(sliding.parent)
    golden(f"cli_explain_{name}", maskviz("explain", "-m", "./sliding", *arguments).stdout)


def test_the_attention_of_a_visible_cell_is_that_of_the_run(maskviz: Run, saved_run: Path) -> None:
    from maskviz.store.archive import read_npz

    shown = maskviz("explain", str(saved_run), "--at", "2,3", "--layer", "1").stdout.splitlines()
    pattern = read_npz(saved_run).trace.calls[1].pattern
    assert pattern is not None
    given = pattern[0, :, 2, 3]
    expected = ["1", f"{given.max():.3f}", str(int(given.argmax())), f"{given.mean(dtype=np.float64):.3f}"]
    assert expected in [line.split() for line in shown]


def test_a_saved_run_is_explained_without_torch(saved_run: Path) -> None:
    done = run_without(("torch", "transformers"), "explain", str(saved_run), "--at", "0,-1")
    assert done.returncode == 0, done.stderr
    assert "padding" in done.stdout


def test_help_needs_no_heavy_library() -> None:
    assert run_without(("torch", "transformers", "matplotlib", "numpy"), "explain", "--help").returncode == 0


def test_the_masks_of_both_stacks_of_an_encoder_decoder_are_asked(maskviz: Run) -> None:
    shown = maskviz("explain", "-m", "demo:t5", "the cat sat", "--target", "sat cat", "--at", "0,3").stdout
    assert "encoder all layers: query 0 'the' may attend to key 3 '</s>'" in shown
    assert "cross all layers: query 0 '<pad>' may attend to key 3 '</s>'" in shown
    assert "decoder attention has no such cell." in shown


def test_a_mask_of_heads_is_answered_head_by_head(maskviz: Run, tmp_path: Path) -> None:
    cells = np.tril(np.ones((1, 4, 5, 5), np.bool_))
    cells[0, 2:, 4, 1] = False
    np.save(tmp_path / "heads.npy", np.where(cells, 0.0, -np.inf).astype(np.float32))
    command = ["explain", "-m", "demo:gpt", "The cat sat on the", "--mask", str(tmp_path / "heads.npy"), "--at", "4,1"]
    shown = maskviz(*command).stdout
    assert "all layers, heads 0-1: query 4 'the' may attend to key 1 'cat'" in shown
    assert "all layers, heads 2-3: query 4 'the' cannot attend to key 1 'cat'" in shown
    assert "heads 2-3" not in maskviz(*command, "--head", "0,1").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["x", "--at", "0,99"], "there is no key 99"),
        (["x", "--at", "-9,0"], "there is no query -9"),
        (["x", "--at", "7"], "'7' is no cell"),
        (["x", "--at", "*,*"], "is the whole mask"),
        (["x", "--at", "0,0", "--text", "2"], "text 2 does not exist"),
        (["x", "--at", "0,0", "--layer", "9"], "9"),
        (["x", "--at", "0,0", "--head", "9"], "9"),
        (["--at", "0,0"], "there is no text"),
        (["a.npz", "b", "--at", "0,0"], "given together"),
        (["a.npz", "--at", "0,0", "-m", "demo:gpt"], "--model does not go with a saved run"),
    ],
)
def test_what_is_wrong_is_one_line_and_a_hint(maskviz: Run, arguments: list[str], said: str) -> None:
    lines = maskviz("explain", *arguments, expect=2).stderr.splitlines()
    assert len(lines) == 2
    assert said in lines[0]
    assert lines[1].startswith("  hint: ")


def test_the_first_query_behind_a_cache_is_not_query_0(maskviz: Run, sliding: Path) -> None:
    said = maskviz("explain", "-m", str(sliding), SENTENCE, "--past", "8", "--at", "0,0", expect=2).stderr
    assert "queries 8-9" in said


def test_a_picture_is_written(maskviz: Run, tmp_path: Path) -> None:
    maskviz("explain", "-m", "demo:gpt", "The cat sat", "--at", "1,2", "-o", str(tmp_path / "why.png"))
    assert (tmp_path / "why.png").read_bytes()[:4] == b"\x89PNG"


@pytest.fixture
def masks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Mask files of blocks, a prefix, block diffusion, and of no known rule, in the folder that is open."""
    place = np.arange(12)
    key, query = place[None], place[:, None]
    blocks = key // 4 <= query // 4
    noisy = (query < 6) & np.where(key < 6, key // 3 == query // 3, (key - 6) // 3 < query // 3)
    clean = (query >= 6) & (key >= 6) & ((key - 6) // 3 <= (query - 6) // 3)
    chance = np.random.default_rng(0).random((2, 2, 12, 12)) < 0.5
    chance[0, :, 2, 6], chance[1, :, 2, 6] = True, (True, False)
    kinds = {"blocks": blocks, "prefix": (key < 3) | (key <= query), "diffusion": noisy | clean, "chance": chance}
    monkeypatch.chdir(tmp_path)
    for name, cells in kinds.items():
        np.save(f"{name}.npy", cells.reshape(-1, cells.shape[1] if cells.ndim == 4 else 1, 12, 12))


@pytest.mark.usefixtures("masks")
def test_a_mask_file_alone_is_explained_by_its_rule(maskviz: Run, golden: Golden) -> None:
    asked = [
        ("blocks", "2,6"),
        ("blocks", "*,6"),
        ("prefix", "1,*"),
        ("diffusion", "4,*"),
        ("diffusion", "9,*"),
    ]
    golden(
        "cli_explain_masks",
        "\n".join(maskviz("explain", f"{name}.npy", "--at", place).stdout for name, place in asked),
    )


@pytest.mark.usefixtures("masks")
def test_a_mask_file_of_no_known_rule_is_said_to_be_what_was_given(maskviz: Run) -> None:
    said = maskviz("explain", "chance.npy", "--at", "2,6", "--text", "2").stdout
    assert "head 0: query 2 may attend to key 6" in said
    assert "head 1: query 2 cannot attend to key 6" in said
    assert "rule: user mask" in said
    assert "head" not in maskviz("explain", "chance.npy", "--at", "2,6").stdout.split("is asked about")[0]


@pytest.mark.usefixtures("masks")
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (["chance.npy", "--at", "2,6", "--text", "3"], 2, "--text 3: chance.npy has 2 rows"),
        (["chance.npy", "--at", "2,6", "--head", "4"], 2, "4"),
        (["blocks.npy", "--at", "2,12"], 2, "there is no key 12"),
        (["blocks.npy", "--at", "2,6", "-m", "demo:gpt"], 2, "--model does not go with a mask file alone"),
        (["blocks.npy", "a text", "--at", "2,6"], 2, "a mask file alone and other texts"),
        (["a text", "--at", "2,6", "--as", "sdpa"], 2, "--as is of a mask file"),
        (["blocks.npy", "--at", "2,6", "--as", "keras"], 2, "keras is [batch, query, key]"),
        (["missing.npy", "--at", "2,6"], 3, "does not exist"),
    ],
)
def test_what_a_mask_file_cannot_be_asked_is_said(maskviz: Run, arguments: list[str], status: int, said: str) -> None:
    answer = maskviz("explain", *arguments, expect=status)
    assert said in answer.stderr
