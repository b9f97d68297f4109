"""`maskviz info`: what the layers of a model do, from its config alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from maskviz.api.models.layers import LENGTH, LayerRun, layers_of
from maskviz.core.run.trace import Trace
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded, build_model, read_config
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Request, encode
from maskviz.store.catalogue import read_catalogue
from maskviz.tracing.run import run
from tests.architectures import ARCHITECTURES, MORE, tiny
from tests.conftest import Response
from tools.catalogue import masks_of_type

Run = Callable[..., Response]
Golden = Callable[[str, str], None]

HYBRID = {
    "architectures": ["Gemma3ForCausalLM"],
    "model_type": "gemma3_text",
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 6,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 2048,
    "sliding_window": 512,
    "layer_types": [*["sliding_attention"] * 4, *["full_attention"] * 2],
}
LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
}
NEO = {
    "architectures": ["GPTNeoForCausalLM"],
    "model_type": "gpt_neo",
    "vocab_size": 99,
    "hidden_size": 32,
    "num_layers": 2,
    "num_heads": 4,
    "attention_types": [[["global", "local"], 1]],
}


def saved(folder: Path, config: dict[str, Any] | str) -> str:
    """A config.json, and nothing beside it."""
    file = folder / "config.json"
    file.write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    return str(file)


def ran(name: str) -> LayerRun:
    source = resolve(name)
    config, raw = read_config(source)
    return layers_of(build_model(source, config, tokenizer=False), source, config, raw)


def weighted(model_type: str, like: Trace) -> Trace:
    """The same ids through the same model, with weights."""
    model = tiny(model_type)
    card = card_of(model.config, model_type, type(model).__name__)
    targets = () if like.batch.decoder is None else tuple(map(tuple, like.batch.decoder.ids.tolist()))
    request = Request(ids=tuple(map(tuple, like.batch.ids.tolist())), target_ids=targets)
    encoded = encode(Loaded(model, None, card), request)
    return run(model, encoded.inputs, encoded.batch, card)


def test_a_hybrid_is_told_layer_by_layer(
    maskviz: Run, golden: Golden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(tmp_path, HYBRID)
    monkeypatch.chdir(tmp_path)
    golden("cli_info_hybrid", maskviz("info", "config.json").stdout)


@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES | MORE))
def test_the_rules_are_those_of_the_same_model_with_its_weights(model_type: str, tmp_path: Path) -> None:
    model = tiny(model_type)
    model.config.architectures = [type(model).__name__]
    model.config.save_pretrained(tmp_path)
    told = ran(str(tmp_path)).trace
    assert told.batch.length == LENGTH
    for call, other in zip(told.calls, weighted(model_type, told).calls, strict=True):
        assert (call.stack, call.layer, call.heads) == (other.stack, other.layer, other.heads)
        assert str(call.mask.rule) == str(other.mask.rule)
        assert np.array_equal(call.mask.visible, other.mask.visible)


def test_a_window_that_the_code_does_not_use_is_said(maskviz: Run, tmp_path: Path) -> None:
    for changed, named in (
        ({"model_type": "qwen2", "use_sliding_window": False, "sliding_window": 4096}, "sliding_window 4,096"),
        ({"sliding_window": 16}, "sliding_window 16"),
        ({"sliding_window": 100}, "sliding_window 100"),
    ):
        out = " ".join(maskviz("info", saved(tmp_path, LLAMA | changed | {"architectures": None})).stdout.split())
        assert f"The config names {named}, and no layer has a window" in out


def test_a_hand_made_window_longer_than_the_run_is_run_at_its_length(tmp_path: Path) -> None:
    found = ran(saved(tmp_path, NEO | {"window_size": 40}))
    assert [str(call.mask.rule) for call in found.trace.calls] == ["causal", "causal ∧ window(40)"]
    assert (dict(found.unused), dict(found.beyond)) == ({}, {})


def test_a_hand_made_window_too_long_to_be_run_is_tried_and_said(maskviz: Run, tmp_path: Path) -> None:
    name = saved(tmp_path, NEO | {"window_size": 1500, "max_position_embeddings": 2048})
    found = ran(name)
    assert (dict(found.unused), dict(found.beyond), found.until) == ({}, {"window_size": 1500}, 1500)
    out = " ".join(maskviz("info", name, "--length", "1600").stdout.split())
    assert "window_size 1,500 of the config blocks cells of longer texts only" in out
    assert "not compared with those of other models: beyond 1,500 tokens" in out


def test_masks_at_a_length_are_compared_with_the_catalogue(maskviz: Run, tmp_path: Path) -> None:
    name = saved(tmp_path, HYBRID)
    at_600 = maskviz("info", name, "--length", "600").stdout
    at_64 = " ".join(maskviz("info", name, "--length", "64").stdout.split())
    assert "gpt2," not in at_600
    assert "the same masks at 64 tokens" in at_64
    assert "512 " in at_64
    assert "gpt2," in at_64
    assert "bert," not in at_64


def test_a_model_that_cannot_be_run_on_tokens_shows_its_configs_words(maskviz: Run, tmp_path: Path) -> None:
    name = saved(tmp_path, {"model_type": "vit", "num_hidden_layers": 3, "num_attention_heads": 4, "hidden_size": 32})
    out = maskviz("info", name).stdout
    assert "! The layers were not run: ViTModel reads images, which is not shown yet." in out
    assert "no window named" in out


@pytest.mark.parametrize("length", ["0", "-3", "4097", "x"])
def test_a_silly_length_is_a_usage_error(maskviz: Run, length: str) -> None:
    response = maskviz("info", "--length", length, expect=2)
    assert "--length" in response.stderr
    assert response.stdout == ""


def test_the_catalogue_says_what_default_configs_do() -> None:
    known = read_catalogue()
    entries = {one.name: one for one in known.entries}
    assert len(entries) > 200
    assert list(entries) == sorted(entries)
    assert not entries.keys() & known.left_out.keys()
    for name in ("bert", "gpt2", "mistral", "t5", "gpt_neo", "lfm2", "modernbert"):
        assert masks_of_type(name) == entries[name]
    assert entries["doge"].until == 2048
    assert entries["jamba"].others == ("state space",)


BROKEN: list[tuple[str, dict[str, Any] | str, int, str]] = [
    ("damaged", '{"model_type": "lla', 3, "cannot load the config"),
    ("a_list", "[1, 2]", 3, ""),
    ("unknown_type", LLAMA | {"model_type": "nonsense"}, 3, "nonsense"),
    ("no_type", {"hidden_size": 32}, 3, ""),
    ("billion_layers", LLAMA | {"num_hidden_layers": 10**9}, 4, "num_hidden_layers 1000000000"),
    ("negative_layers", LLAMA | {"num_hidden_layers": -1}, 4, "num_hidden_layers -1"),
    ("negative_width", LLAMA | {"hidden_size": -32}, 4, "hidden_size -32"),
    ("no_heads", LLAMA | {"num_attention_heads": 0}, 4, "num_attention_heads 0"),
    ("negative_heads", LLAMA | {"num_attention_heads": -4}, 4, "num_attention_heads -4"),
    ("no_key_heads", LLAMA | {"num_key_value_heads": 0}, 4, "num_key_value_heads 0"),
    ("negative_vocabulary", LLAMA | {"vocab_size": -5}, 4, "vocab_size -5"),
    ("huge_width", LLAMA | {"hidden_size": 10**13}, 4, "no model can be built"),
    ("words_for_numbers", LLAMA | {"num_attention_heads": "four"}, 3, ""),
    ("half_a_layer", LLAMA | {"num_hidden_layers": 1.5}, 4, "num_hidden_layers 1.5"),
    ("width_of_no_heads", LLAMA | {"model_type": "bert", "architectures": ["BertModel"], "hidden_size": 30}, 4, "(30)"),
]


@pytest.mark.parametrize(("config", "code", "said"), [one[1:] for one in BROKEN], ids=[one[0] for one in BROKEN])
@pytest.mark.parametrize(
    "command", [["info"], ["show", "--no-weights", "--ids", "5 6 7", "--model"]], ids=["info", "show"]
)
def test_a_config_nothing_can_be_built_from_is_one_line_and_one_hint(
    maskviz: Run, tmp_path: Path, command: list[str], config: dict[str, Any] | str, code: int, said: str
) -> None:
    lines = maskviz(*command, saved(tmp_path, config), expect=code).stderr.splitlines()
    assert len(lines) == 2, lines
    assert lines[0].startswith("maskviz: error: ")
    assert said in lines[0]
    assert lines[1].startswith("  hint: ")


def test_a_layer_too_large_for_any_memory_costs_none(maskviz: Run, tmp_path: Path) -> None:
    name = saved(tmp_path, LLAMA | {"intermediate_size": 10**11})
    assert "causal" in maskviz("info", name).stdout
    assert "all layers: causal" in maskviz("show", "--no-weights", "--ids", "5 6 7", "-m", name).stdout
