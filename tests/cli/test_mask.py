"""`maskviz mask`: rules typed and rules of models, at lengths at which nobody builds a square."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskviz.core.run.trace import CONTENT
from tests.cli.test_info import HYBRID, LLAMA, NEO, saved
from tests.conftest import Response

# Queries and values differ in width.
LATENT = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "model_type": "deepseek_v3",
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 40,
    "moe_intermediate_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "n_routed_experts": 4,
    "n_group": 1,
    "topk_group": 1,
    "num_experts_per_tok": 2,
    "q_lora_rank": 16,
    "kv_lora_rank": 16,
    "qk_rope_head_dim": 8,
    "qk_nope_head_dim": 8,
    "v_head_dim": 8,
    "index_topk": 3,
    "index_n_heads": 4,
    "index_head_dim": 16,
    "first_k_dense_replace": 1,
}
Run = Callable[..., Response]
Golden = Callable[[str, str], None]


def told(maskviz: Run, folder: Path, *arguments: str) -> Any:
    """What the .json of a call says."""
    path = folder / "told.json"
    maskviz("mask", *arguments, "-o", str(path))
    return json.loads(path.read_text("utf-8"))


def test_a_typed_rule_is_drawn_and_counted(maskviz: Run, golden: Golden) -> None:
    rule = "causal & window(120000) & document"
    arguments = ("--length", "1000000", "--documents", "400000,350000", "--heads", "32", "--width", "128")
    golden("cli_mask", maskviz("mask", rule, *arguments).stdout)


def test_a_models_rules_are_drawn_with_their_layers(
    maskviz: Run, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, HYBRID)
    monkeypatch.chdir(tmp_path)
    golden("cli_mask_model", maskviz("mask", "-m", "config.json", "--length", "30000").stdout)


def test_the_numbers_of_a_page_are_in_its_json(maskviz: Run, tmp_path: Path) -> None:
    [rule] = told(maskviz, tmp_path, "causal and window(3)", "--length", "5", "--heads", "2", "--width", "8")["rules"]
    seen = np.tril(np.ones((5, 5))) - np.tril(np.ones((5, 5)), -3)
    assert (rule["rule"], rule["queries"], rule["keys"]) == ("causal ∧ window(3)", 5, 5)
    assert rule["cells"] == {"square": 25, "blocks": 128 * 128, "visible": int(seen.sum())}
    assert rule["blocked"] == {"future": 10, "window": 3}
    assert rule["blocks"] == {"side": 128, "full": 0, "partial": 1, "empty": 0}
    assert rule["operations"]["visible"] == 2 * 2 * 2 * 8 * int(seen.sum())


def test_documents_are_lengths_and_the_rest_is_one_more(maskviz: Run, tmp_path: Path) -> None:
    (tmp_path / "lengths.txt").write_text("3, 4\n2\n")
    for lengths in ("3,4,2", "3,4,2,1", f"@{tmp_path / 'lengths.txt'}"):
        [rule] = told(maskviz, tmp_path, "document", "--length", "10", "--documents", lengths)["rules"]
        assert rule["cells"]["visible"] == 9 + 16 + 4 + 1


@pytest.mark.parametrize(("padding", "visible"), [("3", 7 * 8 // 2), ("left:3", 7 * 8 // 2)])
def test_padding_is_of_the_last_or_the_first_tokens(maskviz: Run, tmp_path: Path, padding: str, visible: int) -> None:
    [rule] = told(maskviz, tmp_path, "causal & padding", "--length", "10", "--padding", padding)["rules"]
    assert rule["cells"]["visible"] == visible


def test_queries_behind_a_cache_are_the_last_tokens(maskviz: Run, tmp_path: Path) -> None:
    [rule] = told(maskviz, tmp_path, "causal & window(10)", "--queries", "2", "--keys", "100")["rules"]
    assert (rule["first_query"], rule["cells"]) == (98, {"square": 200, "blocks": 128 * 128, "visible": 20})


def test_ten_million_tokens_are_not_too_many(maskviz: Run, tmp_path: Path) -> None:
    [rule] = told(maskviz, tmp_path, "causal", "--length", "10000000")["rules"]
    assert rule["cells"]["visible"] == 10_000_000 * 10_000_001 // 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("causal & widow(4)", "--length", "9"), "at character 10: 'widow(4)' is no known rule"),
        ((), "one of RULE and --model is needed"),
        (("causal", "-m", "demo:gpt", "--length", "9"), "one of RULE and --model is needed"),
        (("causal",), "how many tokens is not said"),
        (("causal", "--queries", "9"), "how many tokens is not said"),
        (("causal", "--length", "10000001"), "10,000,001 tokens are more than the 10,000,000"),
        (("causal & document", "--length", "9"), "says 'document' and not of which tokens"),
        (("causal", "--length", "9", "--documents", "4"), "the rule 'causal' does without"),
        (("causal", "--length", "9", "--padding", "4"), "the rule 'causal' does without"),
        (("document", "--length", "9", "--documents", "4,6"), "documents of 10 tokens do not fit into 9"),
        (("document", "--length", "9", "--documents", "4,0"), "--documents are lengths, not '0'"),
        (("document", "--length", "9", "--documents", ","), "--documents are lengths, not ','"),
        (("padding", "--length", "9", "--padding", "top:4"), "--padding is a number of tokens, not 'top:4'"),
        (("padding", "--length", "9", "--padding", "9"), "9 tokens of padding leave nothing of 9"),
        (("causal", "--length", "9", "--heads", "4"), "--heads and --width go together"),
        (("-m", "demo:gpt", "--length", "9", "--padding", "1"), "go with a RULE"),
        (("causal", "--length", "9", "-o", "mask.npz"), "cannot tell the format"),
    ],
)
def test_wrong_usage_says_what_is_wrong_and_ends_with_2(maskviz: Run, arguments: tuple[str, ...], said: str) -> None:
    response = maskviz("mask", *arguments, expect=2)
    assert said in response.stderr
    assert "hint: " in response.stderr
    assert response.stdout == ""


@pytest.mark.parametrize("raw", [None, b"\xff\xfe3,4"])
def test_a_file_of_lengths_that_cannot_be_read_ends_with_3(maskviz: Run, tmp_path: Path, raw: bytes | None) -> None:
    path = tmp_path / "lengths.txt"
    if raw is not None:
        path.write_bytes(raw)
    assert "lengths.txt" in maskviz("mask", "document", "--length", "9", "--documents", f"@{path}", expect=3).stderr


def test_layers_of_one_rule_share_a_picture_and_their_operations_add_up(maskviz: Run, tmp_path: Path) -> None:
    rules = told(maskviz, tmp_path, "-m", saved(tmp_path, HYBRID), "--length", "100000")["rules"]
    assert [(rule["rule"], rule["name"], rule["layers"]) for rule in rules] == [
        ("causal ∧ window(512)", "layers 0-3", 4),
        ("causal", "layers 4-5", 2),
    ]
    assert all(rule["heads"] == {"heads": 4, "width": 8} for rule in rules)


def test_the_stacks_of_an_encoder_decoder_are_told_apart(maskviz: Run, tmp_path: Path) -> None:
    rules = told(maskviz, tmp_path, "-m", "demo:t5", "--length", "500")["rules"]
    assert [(rule["name"], rule["rule"]) for rule in rules] == [
        ("encoder all layers", "bidirectional"),
        ("decoder all layers", "causal"),
        ("cross all layers", "bidirectional"),
    ]


def test_a_model_whose_windows_begin_beyond_the_run_ends_with_4(maskviz: Run, tmp_path: Path) -> None:
    path = saved(tmp_path, NEO | {"window_size": 5000})
    response = maskviz("mask", "-m", path, "--length", "100000", expect=4)
    assert "beyond 5,000 tokens the config" in response.stderr


def test_a_mask_of_content_is_not_told_at_any_length(maskviz: Run, tmp_path: Path) -> None:
    pytest.importorskip("transformers.models.deepseek_v32")
    path = saved(tmp_path, LATENT | {"architectures": ["DeepseekV32ForCausalLM"], "model_type": "deepseek_v32"})
    assert f"the mask {CONTENT}" in maskviz("mask", "-m", path, "--length", "100000", expect=4).stderr


def test_layers_without_a_mask_are_said_beside_those_that_have_one(maskviz: Run) -> None:
    hybrid = Path(__file__).parents[2] / "samples" / "weightless" / "hybrid.json"
    said = maskviz("mask", "-m", str(hybrid), "--length", "9999").stdout
    assert "! layers 0-1, 3-4, 6-7, 9-10" in said
    assert "no attention matrix but recurrent" in " ".join(said.split())


def test_heads_without_a_single_width_have_no_operations(maskviz: Run, tmp_path: Path) -> None:
    assert "no single width" in maskviz("mask", "-m", saved(tmp_path, LATENT), "--length", "9999").stdout


def test_positions_a_config_does_not_have_are_said(maskviz: Run, tmp_path: Path) -> None:
    path = saved(tmp_path, LLAMA | {"max_position_embeddings": 2048})
    assert "gives the model 2,048 positions" in maskviz("mask", "-m", path, "--length", "4096").stdout
    assert "2,048 positions" not in maskviz("mask", "-m", path, "--length", "2048").stdout


def test_masks_that_look_ahead_on_purpose_are_drawn_from_their_words(maskviz: Run) -> None:
    assert "96 of 144 cells visible" in maskviz("mask", "block(4)", "--length", "12").stdout
    assert "58 of 100 cells visible" in maskviz("mask", "prefix(3)", "--length", "10").stdout
    assert "96 of 256 cells visible" in maskviz("mask", "diffusion(4, 8)", "--length", "16").stdout
    refused = maskviz("mask", "diffusion(4, 50000)", "--length", "100000", expect=2)
    assert "too many to ask one by one" in refused.stderr
