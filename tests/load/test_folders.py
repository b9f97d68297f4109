"""Folders people have: each is loaded, or the part of it that is a model is named."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForSequenceClassification

from maskviz import demo
from maskviz.core.errors import CannotTraceError, MaskvizError, NotFoundError
from maskviz.load.models.loading import Loading, bring_in
from maskviz.load.models.model import Loaded
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import encode
from maskviz.load.texts.request import Request
from tests.architectures import tiny

IDS = torch.tensor([[5, 6, 7, 8]])


def load(name: str | Path, **more: Any) -> Loaded:
    return bring_in(Loading(resolve(str(name)), device="cpu", **more), Request())


def logits(loaded: Loaded) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = loaded.model(input_ids=IDS).logits
    return found


def bert(folder: Path, seed: int | None = None) -> Path:
    """demo:bert in a folder; a seed gives its output layer other numbers."""
    shutil.copytree(demo.folder("bert"), folder)
    if seed is not None:
        loaded = load(folder)
        torch.manual_seed(seed)
        torch.nn.init.normal_(loaded.model.bert.encoder.layer[0].output.dense.weight)  # type: ignore[union-attr,index]
        loaded.model.save_pretrained(folder)
    return folder


def as_pickle(folder: Path, **more: Any) -> Path:
    weights = folder / "model.safetensors"
    torch.save(load_file(weights) | more, folder / "pytorch_model.bin")
    weights.unlink()
    return folder


def changed(file: Path, **more: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | more))


class Evil:
    """Opened by pickle it writes a file; nothing else here does."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def test_weights_in_a_pickle_of_tensors_load_with_their_head_and_tokenizer(tmp_path: Path) -> None:
    loaded = load(as_pickle(bert(tmp_path / "bert")))
    assert type(loaded.model).__name__ == "BertForMaskedLM"
    assert loaded.tokenizer is not None
    assert loaded.notes == ()
    assert torch.equal(logits(loaded), logits(load("demo:bert")))


def test_safetensors_are_taken_where_a_pickle_lies_beside_them(tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert")
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Evil(tmp_path / "ran")))
    assert torch.equal(logits(load(folder)), logits(load("demo:bert")))
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["in a checkpoint", "in an old checkpoint", "alone", "as an adapter"])
def test_a_pickle_that_holds_code_is_refused_and_not_run(tmp_path: Path, kind: str) -> None:
    ran, folder = tmp_path / "ran", bert(tmp_path / "bert")
    file = folder / "pytorch_model.bin"
    if kind == "as an adapter":
        folder = lora(tmp_path)
        file = folder / "adapter_model.bin"
        (folder / "adapter_model.safetensors").unlink()
    else:
        (folder / "model.safetensors").unlink()
    if kind == "alone":
        file.write_bytes(pickle.dumps(Evil(ran)))
    else:
        torch.save({"weight": Evil(ran)}, file, _use_new_zipfile_serialization=kind != "in an old checkpoint")
    with pytest.raises(NotFoundError, match="could run code: not loaded"):
        load(folder)
    assert not ran.exists()


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b"version https://git-lfs.github.com/spec/v1\n", b"PK\3\4 cut"])
def test_a_damaged_pickle_is_said(tmp_path: Path, content: bytes) -> None:
    folder = bert(tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises(NotFoundError):
        load(folder)


@pytest.mark.parametrize("files", [(), ("training_args.bin", "optimizer.pt")])
def test_a_folder_with_no_weights_at_all_says_so_once(tmp_path: Path, files: tuple[str, ...]) -> None:
    folder = bert(tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    for name in files:
        (folder / name).write_bytes(b"x")
    loaded = load(folder)
    assert loaded.card.note == "no weights file in the folder: masks alone"
    assert not any("weights" in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (("model.onnx",), "model.onnx was passed over"),
        (("onnx/model.onnx", "tf_model.h5", "flax_model.msgpack"), "tf_model.h5, onnx/model.onnx were passed over"),
        (("tf_model.h5",), "tf_model.h5 was passed over"),
        (("model-q4.gguf",), "model-q4.gguf' reads it"),
        (("openvino_model.bin",), "openvino_model.bin was passed over"),
    ],
)
def test_a_folder_without_weights_that_are_read_says_which_were_passed_over(
    tmp_path: Path, files: tuple[str, ...], said: str
) -> None:
    folder = bert(tmp_path / "bert")
    (folder / "model.safetensors").unlink()
    for name in files:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(b"x")
    loaded = load(folder)
    assert loaded.weightless
    assert said in loaded.notes[-1]
    assert load(folder, weights=False).notes == ()
    assert not any("passed over" in note for note in load(folder, seed=1).notes)


def test_weights_beside_other_exports_are_read_without_a_word(tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert")
    (folder / "model.onnx").write_bytes(b"x")
    assert load(folder).notes == ()


@pytest.mark.parametrize(
    "quantization", [{"quant_method": "fp8", "activation_scheme": "dynamic"}, {"quant_method": "something new"}]
)
def test_a_quantization_the_weights_do_not_have_is_said(tmp_path: Path, quantization: dict[str, Any]) -> None:
    tiny("llama").save_pretrained(tmp_path)
    changed(tmp_path / "config.json", quantization_config=quantization)
    try:
        (note,) = load(tmp_path).notes
    except NotFoundError as error:  # transformers 5.0 does not undo fp8 without the package of its kernels
        assert "triton" in error.message
        return
    assert note.startswith(f"the config names {quantization['quant_method']} quantization")
    assert "float32" in note


def test_mxfp4_over_float_weights_is_said(tmp_path: Path) -> None:
    tiny("gpt_oss").save_pretrained(tmp_path)
    changed(tmp_path / "config.json", quantization_config={"quant_method": "mxfp4", "modules_to_not_convert": []})
    assert any("mxfp4 quantization" in note and "float32" in note for note in load(tmp_path).notes)


def lora(folder: Path, base: str | None = None, **config: Any) -> Path:
    """A LoRA adapter for demo:bert in a folder of its own, whose weights are not zero."""
    from peft import LoraConfig, get_peft_model

    base = base or str(demo.folder("bert"))
    model = load(demo.folder("bert")).model
    if config.get("task_type") == "SEQ_CLS":
        with_labels = BertConfig(**model.config.to_dict())
        with_labels.num_labels = 3
        model = BertForSequenceClassification(with_labels)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of transformers, on what PEFT asks of it
        made = get_peft_model(model, LoraConfig(target_modules=["query", "value"], r=2, **config))
    torch.manual_seed(3)
    for name, parameter in made.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter)
    adapter = folder / "adapter"
    made.save_pretrained(str(adapter))
    changed(adapter / "adapter_config.json", base_model_name_or_path=base)
    torch.save(logits_of(made), adapter / "expected.data")
    return adapter


def logits_of(model: Any) -> torch.Tensor:
    model.train(False)
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


def test_an_adapter_is_loaded_into_its_base(tmp_path: Path) -> None:
    folder = lora(tmp_path)
    loaded = load(folder)
    assert torch.allclose(logits(loaded), torch.load(folder / "expected.data"), atol=1e-5)
    assert not torch.allclose(logits(loaded), logits(load("demo:bert")), atol=1e-2)
    assert loaded.tokenizer is not None
    assert loaded.card.name == str(folder)
    assert loaded.card.note == "with adapter default"
    assert any("an adapter on" in note for note in loaded.notes)


def test_an_adapter_without_weights_has_the_masks_of_its_base(tmp_path: Path) -> None:
    folder = lora(tmp_path)
    assert load(folder, weights=False).weightless
    assert load(folder, seed=1).card.architecture == "BertForMaskedLM"


def test_an_adapter_file_stands_for_its_folder(tmp_path: Path) -> None:
    folder = lora(tmp_path)
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        assert resolve(str(folder / name)).adapter == folder


def test_an_adapter_runs_in_the_class_it_was_trained_for(tmp_path: Path) -> None:
    folder = lora(tmp_path, task_type="SEQ_CLS")
    loaded = load(folder)
    assert type(loaded.model).__name__ == "BertForSequenceClassification"
    assert logits(loaded).shape == (1, 3)


@pytest.mark.parametrize(
    ("config", "kind", "said"),
    [
        ({"base_model_name_or_path": "/no/such/base"}, NotFoundError, "'/no/such/base' does not exist"),
        ({"base_model_name_or_path": None}, NotFoundError, "does not say which model it belongs to"),
        ({"base_model_name_or_path": "no-such-org/no-such-base"}, NotFoundError, "no-such-org/no-such-base"),
        ({"megatron_config": {"a": 1}, "megatron_core": "evil"}, CannotTraceError, "library of its own to run"),
        ({"peft_type": "PROMPT_TUNING"}, CannotTraceError, "in front of every text"),
        ({"peft_type": "NO_SUCH"}, NotFoundError, "cannot load the adapter"),
        ({"r": 3}, NotFoundError, "cannot load the adapter"),
    ],
)
def test_an_adapter_that_cannot_be_loaded_is_said(
    tmp_path: Path, config: dict[str, Any], kind: type[MaskvizError], said: str
) -> None:
    folder = lora(tmp_path)
    changed(folder / "adapter_config.json", **config)
    with pytest.raises(kind, match=said) as caught:
        load(folder)
    assert caught.value.hint


def test_an_adapter_without_its_weights_is_not_looked_for_on_the_hub(tmp_path: Path) -> None:
    folder = lora(tmp_path)
    (folder / "adapter_model.safetensors").unlink()
    with pytest.raises(NotFoundError, match="has no weights"):
        load(folder)


def test_an_adapter_on_itself_is_said(tmp_path: Path) -> None:
    folder = lora(tmp_path)
    changed(folder / "adapter_config.json", base_model_name_or_path=str(folder))
    with pytest.raises(NotFoundError, match="which is an adapter, too"):
        load(folder)


def test_an_adapter_where_peft_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = lora(tmp_path)
    find = __import__("importlib.util").util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *more: None if name == "peft" else find(name, *more))
    with pytest.raises(NotFoundError, match="needs the package peft"):
        load(folder)


def test_the_last_checkpoint_of_a_trainer_is_loaded_and_said(tmp_path: Path) -> None:
    root = tmp_path / "run"
    for step, seed in ((9, 1), (10, 2)):
        bert(root / f"checkpoint-{step}", seed)
    (root / "checkpoint-11").mkdir()  # it was cut off
    loaded = load(root)
    assert torch.equal(logits(loaded), logits(load(root / "checkpoint-10")))
    assert "the model is checkpoint-10 of this folder, the last of 3 checkpoints" in loaded.notes


def test_a_trainers_own_model_is_taken_before_its_checkpoints(tmp_path: Path) -> None:
    root = bert(tmp_path / "run", 1)
    bert(root / "checkpoint-10", 2)
    loaded = load(root)
    assert loaded.notes == ()
    assert not torch.equal(logits(loaded), logits(load(root / "checkpoint-10")))
    (root / "model.safetensors").unlink()
    assert torch.equal(logits(load(root)), logits(load(root / "checkpoint-10")))


def test_a_trainers_checkpoint_may_be_an_adapter(tmp_path: Path) -> None:
    adapter = lora(tmp_path)
    shutil.move(adapter, tmp_path / "run" / "checkpoint-5")
    loaded = load(tmp_path / "run")
    assert loaded.card.note == "with adapter default"
    assert any("checkpoint-5" in note and "an adapter on" in note for note in loaded.notes)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("0_Transformer", "sentence_transformers.models.Transformer"),
        ("", "sentence_transformers.models.Transformer"),
        ("query_0_Transformer", "sentence_transformers.base.modules.transformer.Transformer"),
    ],
)
def test_a_folder_of_sentence_transformers_is_its_first_module(tmp_path: Path, path: str, kind: str) -> None:
    root = tmp_path / "sbert"
    bert(root / path)
    (root / "1_Pooling").mkdir()
    (root / "1_Pooling" / "config.json").write_text('{"word_embedding_dimension": 8}')
    modules = [{"idx": 0, "path": path, "type": kind}, {"idx": 1, "path": "1_Pooling", "type": "x.Pooling"}]
    (root / "modules.json").write_text(json.dumps(modules))
    loaded = load(root)
    assert torch.equal(logits(loaded), logits(load("demo:bert")))
    assert loaded.notes == ((f"the model is {path} of this folder",) if path else ())


@pytest.mark.parametrize("modules", ["[]", "{", "[1]", '[{"path": "../../bert"}]', '[{"path": 5}]', '[{"path": "no"}]'])
def test_modules_that_lead_nowhere_are_said(tmp_path: Path, modules: str) -> None:
    bert(tmp_path / "bert")
    root = tmp_path / "a" / "b"
    root.mkdir(parents=True)
    (root / "modules.json").write_text(modules)
    with pytest.raises(NotFoundError):
        resolve(str(root))


def test_a_model_of_sentence_transformers_without_a_transformer_is_said(tmp_path: Path) -> None:
    kind = "sentence_transformers.models.StaticEmbedding"
    (tmp_path / "modules.json").write_text(json.dumps([{"idx": 0, "path": "0_StaticEmbedding", "type": kind}]))
    with pytest.raises(NotFoundError, match="first part is StaticEmbedding"):
        resolve(str(tmp_path))


def test_the_root_of_a_cached_model_is_its_main_snapshot(tmp_path: Path) -> None:
    root = tmp_path / "models--some-org--some-bert"
    bert(root / "snapshots" / "aaa", 1)
    bert(root / "snapshots" / "bbb", 2)
    (root / "refs").mkdir()
    (root / "refs" / "main").write_text("aaa\n")
    loaded = load(root)
    assert loaded.notes == ()
    assert torch.equal(logits(loaded), logits(load(root / "snapshots" / "aaa")))
    shutil.rmtree(root / "snapshots" / "aaa")
    assert resolve(str(root)).location == str(root / "snapshots" / "bbb")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "model-00001-of-00002.safetensors", "model.safetensors.index.json"]
)
def test_a_weights_file_stands_for_its_folder(tmp_path: Path, name: str) -> None:
    loaded = load(demo.folder("bert"))
    loaded.model.save_pretrained(tmp_path, max_shard_size="1GB" if name == "model.safetensors" else "200KB")
    count = len(list(tmp_path.glob("*.safetensors")))
    again = load(tmp_path / name.replace("00002", f"{count:05}"))
    assert torch.equal(logits(again), logits(loaded))
    assert again.card.name.endswith((".safetensors", ".json"))


@pytest.mark.parametrize(
    ("make", "said", "hint"),
    [
        (lambda root: (root / "model.safetensors").write_bytes(b"x"), "no config.json, only weights", "config.json"),
        (lambda root: bert(root / "text_encoder"), "there are models in text_encoder", "text_encoder"),
        (lambda root: (root / "models--org--name").mkdir(), "a cache of the hub with 1 model", "org/name"),
        (lambda root: None, "has no config.json", "save_pretrained"),
    ],
)
def test_a_folder_that_is_no_model_says_where_one_is(
    tmp_path: Path, make: Callable[[Path], object], said: str, hint: str
) -> None:
    make(tmp_path)
    with pytest.raises(NotFoundError, match=said) as caught:
        resolve(str(tmp_path))
    assert hint in str(caught.value.hint)


def test_a_file_that_no_folder_is_read_from_names_its_folder(tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert")
    other = folder / "consolidated.safetensors"
    shutil.copy(folder / "model.safetensors", other)
    with pytest.raises(NotFoundError) as caught:
        resolve(str(other))
    assert str(folder) in str(caught.value.hint)


def test_texts_are_cut_as_sentence_transformers_cuts_them_and_that_is_said(tmp_path: Path) -> None:
    folder = bert(tmp_path / "bert")
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 5, "do_lower_case": false}')
    loaded, text = load(folder), "The cat sat on the mat."
    tokenizer = loaded.tokenizer
    assert tokenizer is not None
    cut = encode(loaded, Request(texts=(text, "A dog.")))
    assert cut.batch.ids[0].tolist() == tokenizer(text, truncation=True, max_length=5)["input_ids"]
    whole = tokenizer(text)["input_ids"]
    assert cut.notes == (
        f"text 1 was cut from {len(whole)} to 5 tokens (as sentence-transformers cuts it: its max_seq_length; "
        "max_length= allows more)",
    )
    asked = encode(loaded, Request(texts=(text,), max_length=len(whole)))
    assert (asked.batch.ids[0].tolist(), asked.notes) == (whole, ())
    assert encode(loaded, Request(ids=(tuple(whole),))).batch.length == len(whole)


@pytest.mark.parametrize("said", ["{", "[]", "{}", '{"max_seq_length": null}', '{"max_seq_length": -1}'])
def test_a_limit_that_is_none_cuts_nothing(tmp_path: Path, said: str) -> None:
    folder = bert(tmp_path / "bert")
    (folder / "sentence_bert_config.json").write_text(said)
    assert encode(load(folder), Request(texts=("The cat sat on the mat.",))).notes == ()
