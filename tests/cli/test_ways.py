"""The ways a model is asked for and called, from the command line."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from maskviz.api.shown import load_trace
from maskviz.core.results.results import FutureProof
from maskviz.tracing.experiments.prove import prove
from tests.conftest import Response

Run = Callable[..., Response]

LLAMA = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}

QWEN: dict[str, object] = {"model_type": "qwen3_moe", "architectures": ["Qwen3MoeForCausalLM"]}


def config_file(folder: Path, **changes: object) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(LLAMA | changes), encoding="utf-8")
    return str(path)


def test_a_config_alone_shows_masks_and_says_what_it_does_not_have(maskviz: Run, tmp_path: Path) -> None:
    config = config_file(tmp_path)
    for model, why in ((config, "no weights"), (str(tmp_path), "no weights file in the folder")):
        shown = maskviz("show", "-m", model, "one two three").stdout
        said = " ".join(shown.split())
        assert f"{why}: masks alone" in said
        assert "no tokenizer: words stand in for tokens" in said
        assert "all layers: causal" in said
        assert "2 three ██████" in shown
        assert "attention of each head" not in said


def test_weights_that_are_there_can_be_left_alone(maskviz: Run, tmp_path: Path) -> None:
    saved = tmp_path / "run.npz"
    maskviz("show", "-m", "demo:gpt", "--no-weights", "The cat sat.", "-o", str(saved))
    with np.load(saved) as run:
        assert not any(name.endswith("pattern") for name in run.files)
        assert run["call.000.visible"].shape == (1, 1, 4, 4)
    assert "causal" in maskviz("view", str(saved)).stdout


def test_random_weights_are_said_to_be_random_on_every_page(maskviz: Run, tmp_path: Path) -> None:
    said = maskviz("show", "-m", config_file(tmp_path), "one two", "--random-weights", "7").stdout
    assert "RANDOM weights (seed 7)" in " ".join(said.split())
    assert "where its heads look means nothing" in " ".join(said.split())
    assert "heads that stand out" in said


def test_a_tokenizer_can_be_lent(maskviz: Run, tmp_path: Path) -> None:
    config = config_file(tmp_path, vocab_size=2000)
    said = maskviz("show", "-m", config, "The cat sat.", "--tokenizer", "demo:bert").stdout
    assert "[CLS]" in said
    assert "the tokenizer is that of demo:bert" in said


def test_queries_behind_a_cache_keep_their_numbers(maskviz: Run, tmp_path: Path) -> None:
    saved = tmp_path / "run.npz"
    arguments = ["show", "-m", "demo:gpt", "The cat sat on the mat.", "--past", "5", "--layer", "0", "--head", "3"]
    said = maskviz(*arguments).stdout
    assert "5 mat ████████████·" in said
    maskviz(*arguments, "-o", str(saved))
    assert "5 mat ████████████·" in maskviz("view", str(saved)).stdout


TREE = np.array([[row >= key and not (3 <= key < 6 <= row) for key in range(9)] for row in range(9)])


@pytest.mark.parametrize("cache", ["dynamic", "static"])
@pytest.mark.parametrize("rows", ["whole", "behind"])
def test_a_mask_of_the_users_own_holds_behind_a_cache(maskviz: Run, tmp_path: Path, rows: str, cache: str) -> None:
    """Given for every query or for those behind the cache alone, their rows are the same."""
    ids = ("-m", "demo:gpt", "--ids", "5 6 7 8 9 10 11 12 13")
    np.save(tmp_path / "whole.npy", TREE[None, None])
    np.save(tmp_path / "behind.npy", TREE[None, None, 3:])
    at_once, parts = tmp_path / "at_once.npz", tmp_path / "parts.npz"
    maskviz("show", *ids, "--mask", str(tmp_path / "whole.npy"), "-o", str(at_once))
    maskviz(*("show", *ids, "--mask", str(tmp_path / f"{rows}.npy"), "--past", "3", "--cache", cache), "-o", str(parts))
    expected, found = load_trace(at_once), load_trace(parts)
    assert "user mask" in str(found.calls[0].mask.rule)
    for one, other in zip(found.calls, expected.calls, strict=True):
        assert np.array_equal(one.mask.visible[0, 0], TREE[3:])
        assert one.pattern is not None
        assert other.pattern is not None
        np.testing.assert_allclose(one.pattern, other.pattern[:, :, 3:], atol=1e-4)


def test_a_mask_that_fits_neither_the_text_nor_what_is_behind_the_cache_is_refused(
    maskviz: Run, tmp_path: Path
) -> None:
    np.save(tmp_path / "mask.npy", TREE[None, None, 3:])
    arguments = ("-m", "demo:gpt", "--ids", "5 6 7 8 9 10 11 12 13", "--past", "4")
    said = maskviz("show", *arguments, "--mask", str(tmp_path / "mask.npy"), expect=2).stderr
    assert "the mask is [1, 1, 6, 9] and the batch 1 text of 9 tokens, 4 of them in a cache" in said


def test_generated_tokens_are_told_from_given_ones(maskviz: Run) -> None:
    said = maskviz("show", "-m", "demo:gpt", "The cat sat on the", "--step", "2", "--layer", "0", "--head", "0").stdout
    assert "tokens from 5 on were generated" in said
    assert "7 x 7 cells" in said


def test_a_proof_is_printed_and_one_that_fails_ends_with_code_5(maskviz: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = ["show", "-m", "demo:gpt", "The cat sat.", "--prove", "--layer", "0", "--head", "0"]
    assert "Proven: every cell" in maskviz(*arguments).stdout
    monkeypatch.setattr(
        "maskviz.api.runs.traced.prove", lambda *given: replace(prove(*given), future=FutureProof(0.5, False))
    )
    response = maskviz(*arguments, expect=5)
    assert "moves what comes before it: at most 5.0e-01" in response.stdout
    assert "Not proven" in response.stdout


def test_a_model_without_attention_has_no_heads_to_gate(maskviz: Run, tmp_path: Path) -> None:
    path = tmp_path / "mamba.json"
    path.write_text('{"model_type": "mamba", "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2}')
    arguments = ["show", "-m", str(path), "one two", "--random-weights", "0", "--head-mask", "0:1"]
    assert "no attention to gate" in maskviz(*arguments, expect=2).stderr


def test_texts_that_go_on_behind_their_padding_are_pointed_out(maskviz: Run, tmp_path: Path) -> None:
    arguments = ["show", "-m", config_file(tmp_path), "one two three", "four", "--random-weights", "0", "--step", "1"]
    assert "go on behind their padding" in maskviz(*arguments).stdout


def test_layers_without_an_attention_matrix_are_shown_as_what_they_are(maskviz: Run, tmp_path: Path) -> None:
    path = tmp_path / "mamba.json"
    path.write_text('{"model_type": "mamba", "vocab_size": 99, "hidden_size": 32, "num_hidden_layers": 2}')
    saved = tmp_path / "run.npz"
    said = " ".join(maskviz("show", "-m", str(path), "one two").stdout.split())
    assert "layers 0-1: state space (MambaMixer), no attention matrix" in said
    maskviz("show", "-m", str(path), "one two", "-o", str(saved))
    assert "state space" in maskviz("view", str(saved)).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["-m", "demo:gpt", "a b", "--past", "9"], 4, "--past 9 leaves none of the 2 tokens"),
        (["-m", "demo:bert", "a b c", "--past", "1"], 4, "returns no key-value cache"),
        (["-m", "demo:bert", "a b c", "--step", "1"], 2, "does not generate"),
        (["-m", "demo:gpt", "a", "--step", "600"], 4, "more than the 512 positions"),
        (["-m", "demo:gpt", "a b", "--past", "1", "--step", "1"], 2, "--past and --step are given together"),
        (["-m", "demo:gpt", "a b", "--past", "1", "--prove"], 2, "--past and --prove are given together"),
        (["-m", "demo:gpt", "a b", "--no-weights", "--random-weights", "1"], 2, "given together"),
        (
            ["-m", "demo:gpt", "a b", "--no-weights", "--step", "1"],
            2,
            "--step generates from numbers, and there",
        ),
        (["-m", "demo:gpt", "a b", "--no-weights", "--prove"], 2, "--prove follows numbers, and there are none"),
        (
            ["-m", "demo:gpt", "a b", "--no-weights", "--head-mask", "0:1"],
            2,
            "there are none (no weights: masks",
        ),
        (["-m", "demo:gpt", "a b", "--no-weights", "--head", "1"], 2, "--head draws numbers, and there"),
        (["-m", "demo:gpt", "a b", "--cache", "static"], 2, "--cache static is of --past and --step"),
        (["-m", "demo:gpt", "--ids", "5 99999", "--no-weights"], 2, "id 99999 is not in the vocabulary"),
        (["-m", "demo:gpt", "a b", "--random-weights", "9" * 30], 2, "--random-weights"),
        (["-m", "demo:gpt", "a b", "--tokenizer", "./nowhere"], 3, "'./nowhere' does not exist"),
    ],
)
def test_what_does_not_go_together_is_said(maskviz: Run, arguments: list[str], code: int, said: str) -> None:
    response = maskviz("show", *arguments, expect=code)
    assert said in response.stderr
    assert response.stderr.count("\n") == 2


@pytest.mark.parametrize(
    ("changes", "code", "said"),
    [
        ({"model_type": "no_such_type"}, 3, "does not know the model type 'no_such_type'"),
        ({"num_hidden_layers": 1_000_000_000}, 4, "num_hidden_layers 1000000000"),
        ({"num_hidden_layers": -1}, 4, "num_hidden_layers -1"),
        ({"hidden_size": -32}, 4, "hidden_size -32"),
        ({"num_experts": -1, **QWEN}, 4, "num_experts -1"),
        ({"num_experts": 10**11, **QWEN}, 4, "check the config's sizes"),
        ({"num_attention_heads": 0}, 4, "num_attention_heads 0"),
    ],
)
def test_configs_of_absurd_numbers_are_refused(
    maskviz: Run, tmp_path: Path, changes: dict[str, object], code: int, said: str
) -> None:
    response = maskviz("show", "-m", config_file(tmp_path, **changes), "one two", expect=code)
    assert said in response.stderr
    assert response.stderr.count("\n") == 2


def test_as_many_experts_as_a_config_names_cost_nothing_without_weights(maskviz: Run, tmp_path: Path) -> None:
    """Doge's own default is 16,384; what limits them is memory."""
    config = config_file(tmp_path, num_experts=100_000, **QWEN)
    assert "causal" in maskviz("show", "-m", config, "one two three").stdout
