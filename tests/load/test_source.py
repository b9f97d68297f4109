"""Names become models, and what cannot be loaded is said in one line."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from maskviz import demo
from maskviz.core.errors import CannotTraceError, ExitCode, MaskvizError, NotFoundError, UsageError
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded, load_config, load_model, load_tokenizer
from maskviz.load.models.source import Source, resolve
from tests.architectures import ARCHITECTURES, tiny


@pytest.fixture
def bert_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "bert"
    shutil.copytree(demo.folder("bert"), folder)
    return folder


def load(name: str) -> Loaded:
    source = resolve(name)
    return load_model(source, load_config(source), device="cpu")


@pytest.mark.parametrize(
    ("name", "location"),
    [("bert-base-uncased", "bert-base-uncased"), ("org/model", "org/model")],
)
def test_hub_ids_are_left_to_transformers(name: str, location: str) -> None:
    assert resolve(name).location == location


def test_folders_gguf_files_and_demos_are_told_apart(bert_folder: Path, smollm2_gguf: Path) -> None:
    assert resolve(str(bert_folder)).location == str(bert_folder)
    gguf = resolve(str(smollm2_gguf))
    assert (gguf.location, gguf.gguf_file) == (str(smollm2_gguf.parent), smollm2_gguf.name)
    assert resolve("demo:bert").demo


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("", UsageError, "model name is empty"),
        ("demo:nothing", UsageError, "no demo model 'demo:nothing'"),
        ("./nowhere", NotFoundError, "model folder './nowhere' does not exist"),
        ("/no/such/model.gguf", NotFoundError, "model file"),
        ("a/b/c", NotFoundError, "does not exist"),
        ("a sentence that is longer than any file name may be " * 9, NotFoundError, "is no model name"),
        ("~nobody-here/model", NotFoundError, "is no model name"),
    ],
)
def test_names_that_lead_nowhere_are_said(name: str, kind: type[MaskvizError], said: str) -> None:
    with pytest.raises(kind, match=said):
        resolve(name)


def test_an_unknown_hub_id_without_network_says_both_possibilities(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(NotFoundError) as caught:
        load_config(resolve("no-such-org/no-such-model"))
    assert "no-such-org/no-such-model" in caught.value.message
    assert caught.value.hint
    with pytest.raises(NotFoundError, match="not in the local cache"):
        load_config(resolve("no-such-org/no-such-model", offline=True))


def test_a_cached_hub_model_loads_by_its_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The hub's cache layout: models--org--name/{refs/main, snapshots/<commit>/files}."""
    commit = "0" * 40
    repository = tmp_path / "models--some-org--some-bert"
    shutil.copytree(demo.folder("bert"), repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    source = resolve("some-org/some-bert", offline=True)
    arguments = source.arguments | {"cache_dir": str(tmp_path)}
    monkeypatch.setattr(Source, "arguments", property(lambda _: arguments))
    loaded = load_model(source, load_config(source), device="cpu")
    assert loaded.card.name == "some-org/some-bert"
    assert loaded.card.architecture == "BertForMaskedLM"
    assert loaded.tokenizer is not None


def test_the_class_the_config_names_is_loaded(bert_folder: Path, minilm: Path) -> None:
    assert type(load(str(bert_folder)).model).__name__ == "BertForMaskedLM"
    assert type(load(str(minilm)).model).__name__ == "BertModel"


def test_missing_and_damaged_weights_are_said(bert_folder: Path) -> None:
    weights = bert_folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(NotFoundError, match="damaged"):
        load(str(bert_folder))
    weights.unlink()
    with pytest.raises(NotFoundError, match="no usable weights"):
        load(str(bert_folder))


def test_weights_the_checkpoint_lacks_are_noted(bert_folder: Path) -> None:
    config = json.loads((bert_folder / "config.json").read_text())
    config["architectures"] = ["BertForSequenceClassification"]
    (bert_folder / "config.json").write_text(json.dumps(config))
    notes = load(str(bert_folder)).notes
    assert any("classifier" in note and "random" in note for note in notes)


@pytest.mark.parametrize("content", ["{", "[]", '{"model_type": "no_such_type"}', "{}"])
def test_a_config_that_is_none_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(MaskvizError) as caught:
        load_config(resolve(str(tmp_path)))
    assert caught.value.exit_code in (ExitCode.NOT_FOUND, ExitCode.USAGE)


def test_code_that_comes_with_a_model_needs_consent(bert_folder: Path) -> None:
    config = json.loads((bert_folder / "config.json").read_text())
    config |= {"model_type": "own", "auto_map": {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}}
    (bert_folder / "config.json").write_text(json.dumps(config))
    (bert_folder / "own.py").write_text("raise SystemExit('ran')")
    with pytest.raises(CannotTraceError, match="brings its own code") as caught:
        load_config(resolve(str(bert_folder)))
    assert "trust_remote_code=" in str(caught.value.hint)


def test_a_model_without_tokenizer_loads(tmp_path: Path) -> None:
    tiny("llama").save_pretrained(tmp_path)
    tokenizer, problem = load_tokenizer(resolve(str(tmp_path)))
    assert tokenizer is None
    assert problem
    assert load(str(tmp_path)).tokenizer is None


@pytest.mark.parametrize(
    ("device", "said"), [("cuda:99", "cannot be used here"), ("nonsense", "cannot be used here"), ("meta", "meta")]
)
def test_devices_that_are_not_there_are_said(device: str, said: str) -> None:
    source = resolve("demo:bert")
    with pytest.raises(UsageError, match=said):
        load_model(source, load_config(source), device=device)


def test_types_are_checked_and_used() -> None:
    source = resolve("demo:bert")
    config = load_config(source)
    with pytest.raises(UsageError, match="dtype 'float8'"):
        load_model(source, config, device="cpu", dtype="float8")
    assert load_model(source, config, device="cpu", dtype="bfloat16").card.dtype == "bfloat16"
    assert load_model(source, config, device="cpu").card.dtype == "float32"


@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES))
def test_the_card_counts_what_the_model_has(model_type: str) -> None:
    model = tiny(model_type)
    card = card_of(model.config, model_type, type(model).__name__)
    assert card.layers == ((3, 2) if model_type in ("t5", "bart") else (3,))
    assert set(card.heads) == {4}
    expected = {"llama": 2, "mistral": 2, "gemma2": 2, "gemma3": 2, "qwen3": 2, "gpt_oss": 2, "falcon": 1}
    assert set(card.key_heads) == {expected.get(model_type, 4)}
    assert len(card.attention) == 3


def test_a_class_this_transformers_does_not_have_is_noted(bert_folder: Path) -> None:
    config = json.loads((bert_folder / "config.json").read_text())
    config["architectures"] = ["BertForTimeTravel"]
    (bert_folder / "config.json").write_text(json.dumps(config))
    loaded = load(str(bert_folder))
    assert any("BertForTimeTravel" in note and "BertModel runs instead" in note for note in loaded.notes)


def test_the_card_of_two_models_in_one_counts_both() -> None:
    from transformers import BertConfig, EncoderDecoderConfig

    sizes: dict[str, Any] = {"hidden_size": 32, "intermediate_size": 40, "vocab_size": 99}
    encoder = BertConfig(num_hidden_layers=3, num_attention_heads=4, **sizes)
    decoder = BertConfig(num_hidden_layers=1, num_attention_heads=2, **sizes)
    card = card_of(EncoderDecoderConfig.from_encoder_decoder_configs(encoder, decoder), "x", "y")
    assert (card.layers, card.heads) == ((3, 1), (4, 2))


def test_the_card_words_local_layers() -> None:
    config = tiny("gemma3").config
    assert card_of(config, "x", "y").attention == ("full", "sliding window 4", "sliding window 4")
