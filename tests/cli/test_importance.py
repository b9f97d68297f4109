"""`importance` and `prune` from the command line: what a user does, and what a user does wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, BertConfig, BertForSequenceClassification, LlamaForCausalLM

from tests.architectures import tiny
from tests.conftest import Response

Run = Callable[..., Response]
Golden = Callable[[str, str], None]

WORDS = "stone river lamp apple dog green seven stone river lamp apple dog green"
TEXTS = ["the cat sat on the mat", "Anna has a red ball and a dog", "it was too tired to walk"]


def test_the_ranking_is_the_golden_one(maskviz: Run, golden: Golden) -> None:
    golden("cli_importance", maskviz("importance", "-m", "demo:gpt", WORDS, "--top", "4").stdout)


def test_the_curve_is_the_golden_one(maskviz: Run, golden: Golden) -> None:
    golden("cli_prune", maskviz("prune", "-m", "demo:gpt", *TEXTS, "--keep", "0.5", "--random", "3").stdout)


def read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return found


def test_the_chosen_mask_costs_what_show_says_it_costs(maskviz: Run, tmp_path: Path) -> None:
    mask, pruned, shown = tmp_path / "mask.json", tmp_path / "pruned.json", tmp_path / "shown.json"
    maskviz("prune", "-m", "demo:gpt", TEXTS[1], "--keep", "0.6", "--save", str(mask), "-o", str(pruned))
    maskviz("show", "-m", "demo:gpt", TEXTS[1], "--head-mask", f"@{mask}", "-o", str(shown))
    gates = np.array(json.loads(mask.read_text()))
    assert gates.shape == (3, 4)
    assert (gates == 0).sum() == 5
    loss = read(shown)["change"]["losses"][0]
    cost = read(pruned)["chosen"]["changes"]["loss"][0]
    assert cost == pytest.approx(loss["after"] - loss["before"], abs=1e-5)


def test_a_text_matters_the_same_alone_and_among_others(maskviz: Run, tmp_path: Path) -> None:
    alone, among = tmp_path / "alone.json", tmp_path / "among.json"
    maskviz("importance", TEXTS[1], "-o", str(alone))
    maskviz("importance", *TEXTS, "-o", str(among))
    np.testing.assert_allclose(read(alone)["changes"]["loss"][0], read(among)["changes"]["loss"][1], atol=1e-6)


def test_the_exported_model_says_what_the_masked_one_says(maskviz: Run, tmp_path: Path) -> None:
    model, folder, mask = tmp_path / "llama", tmp_path / "smaller", tmp_path / "mask.json"
    own = tiny("llama")
    own.save_pretrained(model)
    ids = ["--ids", "5 17 3 9 20", "--ids", "8 2 11 30"]
    said = maskviz(
        "prune", "-m", str(model), *ids, "--key-heads", "--keep", "0.2", "--save", str(mask), "--export", str(folder)
    )
    assert f"wrote {folder}" in said.stderr
    assert "Loaded back, its outputs differ from the masked model's by at most" in " ".join(said.stdout.split())
    smaller = AutoModelForCausalLM.from_pretrained(folder)
    gates = json.loads(mask.read_text())
    row = torch.tensor([[5, 17, 3, 9, 20]])
    assert isinstance(own, LlamaForCausalLM)
    with torch.no_grad():
        for layer, of_layer in zip(own.model.layers, gates, strict=True):
            width = layer.self_attn.head_dim
            for head, gate in enumerate(of_layer):
                layer.self_attn.o_proj.weight[:, head * width : (head + 1) * width] *= gate
        np.testing.assert_allclose(smaller(row).logits, own(row).logits, atol=1e-5)


def test_a_classifier_is_held_against_its_own_answers(maskviz: Run, tmp_path: Path) -> None:
    config = tiny("bert").config
    assert isinstance(config, BertConfig)
    config.num_labels = 3
    BertForSequenceClassification(config).save_pretrained(tmp_path / "classifier")
    response = maskviz("importance", "-m", str(tmp_path / "classifier"), "--ids", "5 17 3", "--top", "2")
    assert "change of loss" in response.stdout


@pytest.mark.parametrize("command", ["importance", "prune"])
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "there is no text"),
        (["text", "--model", "./missing"], 3, "missing"),
        (["text", "--file", "missing.txt"], 3, "missing.txt"),
        (["text", "-o", "result.npz"], 2, "cannot tell the format"),
        (["text", "--measure", "cosine"], 2, "there is no cosine for masked token"),
        (["text", "--ablation", "resample"], 2, "there is one"),
        (["-m", "demo:t5", "text", "--measure", "loss"], 2, "a --target"),
        (["--ids", "5 x"], 2, "not all of it are ids"),
        (["--file", "texts.txt", "-o", "texts.txt"], 2, "is the file that is read"),
        (["text", "--pair", "one", "--pair", "two"], 2, "there are 2 --pair and 1 texts"),
        (["-m", "demo:t5", "text", "more", "--target", "one"], 2, "there are 1 --target and 2 texts"),
        (["text", "--target", "more"], 2, "no decoder of its own"),
    ],
)
def test_what_is_wrong_is_said(maskviz: Run, command: str, arguments: list[str], code: int, said: str) -> None:
    response = maskviz(command, *arguments, expect=code)
    assert said in response.stderr
    assert response.stderr.count("\n") == 2
    assert response.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--by", "name"], "--by 'name' is not known"),
        (["--keep", "0.5", "--within", "0.1"], "given together"),
        (["--save", "mask.json"], "none is asked for"),
        (["--export", "folder"], "none is asked for"),
        (["--keep", "0.5", "--save", "mask.txt"], "is no .json"),
        (["--keep", "0.5", "--export", "folder", "--ablation", "mean"], "--ablation zero"),
        (["--keep", "0.5", "--save", "same.json", "-o", "same.json"], "named twice"),
    ],
)
def test_what_does_not_go_together_is_said_before_a_model_is_loaded(
    maskviz: Run, arguments: list[str], said: str
) -> None:
    assert said in maskviz("prune", "-m", "./missing", "text", *arguments, expect=2).stderr


def test_an_export_never_writes_over_what_is_there(maskviz: Run, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    maskviz("prune", "text", "--keep", "0.5", "--export", str(tmp_path), expect=2)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_architecture_that_cannot_be_written_smaller_is_named_before_it_is_examined(
    maskviz: Run, tmp_path: Path
) -> None:
    tiny("bloom").save_pretrained(tmp_path / "bloom")
    response = maskviz(
        "prune",
        "-m",
        str(tmp_path / "bloom"),
        "--ids",
        "5 17 3",
        "--keep",
        "0.5",
        "--export",
        str(tmp_path / "new"),
        expect=4,
    )
    assert "Bloom" in response.stderr
    assert not (tmp_path / "new").exists()


def test_without_weights_there_is_nothing_to_silence(maskviz: Run, tmp_path: Path) -> None:
    tiny("bert").config.save_pretrained(tmp_path)
    response = maskviz("importance", "-m", str(tmp_path / "config.json"), "--ids", "5 6", expect=2)
    assert "silencing heads changes numbers, and there are none (no weights: masks alone)" in response.stderr


def test_gradients_come_alone_when_they_are_asked_for(maskviz: Run) -> None:
    printed = maskviz("importance", TEXTS[0], "--method", "gradient").stdout
    assert "|dL/d gate|" in printed
    assert "Spearman" not in printed
    response = maskviz("importance", TEXTS[0], "--method", "gradient", "--ablation", "mean", expect=2)
    assert "leave out" in response.stderr


@pytest.mark.parametrize("more", [(), ("--key-heads",)], ids=["heads", "key heads"])
def test_a_folder_that_would_be_no_smaller_is_not_written_and_that_is_no_success(
    maskviz: Run, tmp_path: Path, more: tuple[str, ...]
) -> None:
    tiny("llama").save_pretrained(tmp_path / "llama")
    new = tmp_path / "new"
    arguments = ("-m", str(tmp_path / "llama"), "--ids", "5 17 3 9", "--keep", "0.9", "--export", str(new), *more)
    response = maskviz("prune", *arguments, expect=4)
    assert "no projection would be smaller" in response.stderr
    assert ("--key-heads" in response.stderr.splitlines()[-1]) is (not more)
    assert "head pruning" in response.stdout, "the curve is measured, and shown"
    assert not new.exists()


def test_a_full_disk_loses_neither_the_mask_nor_its_manners(
    maskviz: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("maskviz.ablate.export._write", full)
    mask, new = tmp_path / "mask.json", tmp_path / "new"
    response = maskviz(
        "prune", "-m", "demo:gpt", TEXTS[1], "--keep", "0.5", "--save", str(mask), "--export", str(new), expect=3
    )
    assert "No space left on device" in response.stderr
    assert mask.is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["mask.json"]


def test_a_text_without_a_loss_is_ranked_by_what_there_is_and_said(maskviz: Run) -> None:
    printed = " ".join(
        maskviz("importance", "-m", "demo:gpt", "--ids", "5", "--ids", "5 6 7", "--top", "2").stdout.split()
    )
    assert "KL divergence without each head" in printed
    assert "not every text has a token that is predicted" in printed
    response = maskviz("importance", "-m", "demo:gpt", "--ids", "5", "--method", "gradient", expect=4)
    assert "no token that is predicted" in response.stderr
    response = maskviz("prune", "-m", "demo:gpt", "--ids", "5", "--by", "gradient", expect=4)
    assert "no token that is predicted" in response.stderr


def test_a_silenced_head_is_named_with_its_stack_where_there_are_several(maskviz: Run) -> None:
    printed = maskviz("importance", "-m", "demo:t5", TEXTS[0], "--target", "mat the on", "--top", "1").stdout
    assert "With head encoder " in printed or "With head decoder " in printed or "With head cross " in printed
