"""`maskviz check` reads what its runs measured: mistakes of batches, masks, configs and classes, by their cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from tests.architectures import tiny
from tests.conftest import Response
from tests.own_code import HIDES_ITS_EMBEDDINGS, IGNORES_ITS_MASK, both_ways_folder

Maskviz = Callable[..., Response]
Check = Callable[..., list[dict[str, Any]]]
LENGTH = 6
IDS = (5, 17, 3, 42, 8, 11)
CAUSAL = np.tril(np.ones((LENGTH, LENGTH), np.bool_))
KEEP = np.array([[1, 1, 1, 1, 0, 0], [1] * LENGTH], np.bool_)
ROWS = (
    {"input_ids": [5, 17, 3, 42, 0, 0], "attention_mask": [1, 1, 1, 1, 0, 0]},
    {"input_ids": list(IDS), "attention_mask": [1] * LENGTH},
)
# Two branches of two tokens behind a stem of two.
TREE = np.array(
    [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [1, 1, 0, 0, 1, 1],
    ],
    np.bool_,
)
OF_THE_TREE = [0, 1, 2, 3, 2, 3]
BLOCKS = np.arange(LENGTH)[None, :] // 2 <= np.arange(LENGTH)[:, None] // 2


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of tiny models by type."""
    made = {}
    for name in ("llama", "bert", "gpt2"):
        path = tmp_path_factory.mktemp(name)
        tiny(name).save_pretrained(path)
        made[name] = str(path)
    return made


@pytest.fixture
def check(maskviz: Maskviz, tmp_path: Path) -> Check:
    """Findings of a check of rows, with a mask where there is one, from severest to least as they come."""

    def asked(model: str, *rows: dict[str, Any], mask: Any = None, more: tuple[str, ...] = ()) -> list[dict[str, Any]]:
        file = tmp_path / "rows.jsonl"
        file.write_text("\n".join(map(json.dumps, rows)))
        options = ["--file", str(file), *more]
        if mask is not None:
            np.save(tmp_path / "mask.npy", mask)
            options += ["--mask", str(tmp_path / "mask.npy")]
        answer = maskviz("check", "-m", model, *options, "--for", "forward", "--format", "json", "--fail-on", "never")
        findings: list[dict[str, Any]] = json.loads(answer.stdout)["findings"]
        return findings

    return asked


def ids_of(findings: list[dict[str, Any]]) -> list[str]:
    return [one["id"] for one in findings]


def number(text: str) -> float:
    """The number at the end of a sentence."""
    return float(text.rsplit(" ", 1)[1])


def test_a_mask_of_ones_shows_real_tokens_their_padding_and_the_move_is_that_of_the_text_alone(
    check: Check, folders: dict[str, str]
) -> None:
    (finding,) = check(folders["bert"], *ROWS, mask=np.ones((2, 1, LENGTH, LENGTH), np.bool_))
    assert (finding["id"], finding["severity"], finding["row"]) == ("P10", "error", 0)
    assert "the mask that was given" in finding["message"] and "layers 0-" in finding["where"]
    assert "mask & keep" in finding["fix"] and number(finding["tried"]) < 1e-4
    model: Any = transformers.AutoModelForMaskedLM.from_pretrained(folders["bert"])
    ids = torch.tensor([row["input_ids"] for row in ROWS])
    with torch.no_grad():
        batch = model(ids, attention_mask=torch.ones(2, 1, LENGTH, LENGTH, dtype=torch.bool)).logits[0, :4]
        alone = model(ids[:1, :4]).logits[0]
    said = float(finding["measured"].split("off by up to ")[1].split()[0])
    assert said == pytest.approx(float((batch - alone).abs().max()), rel=0.05)


def test_a_class_that_takes_a_mask_and_ignores_it_is_found_by_its_masks(maskviz: Maskviz, tmp_path: Path) -> None:
    folder = both_ways_folder(tmp_path / "own", weights=True, code=IGNORES_ITS_MASK)
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, ROWS)))
    asked = ("check", "-m", str(folder), "--trust-remote-code", "--file", str(file), "--for", "forward")
    answer = maskviz(*asked, "--format", "json", expect=5)
    findings = {one["id"]: one for one in json.loads(answer.stdout)["findings"]}
    assert "its real tokens may attend to its padding, though its mask hides it" in findings["P10"]["message"]
    assert "off by up to" in findings["P10"]["measured"]
    without = maskviz(*asked, "--no-weights", "--format", "json", expect=5)
    assert "P10" in ids_of(json.loads(without.stdout)["findings"])


def test_an_experiment_that_a_class_does_not_allow_is_left_out_and_said_to_be(maskviz: Maskviz, tmp_path: Path) -> None:
    folder = both_ways_folder(tmp_path / "own", weights=True, code=HIDES_ITS_EMBEDDINGS)
    asked = ("check", "-m", str(folder), "--trust-remote-code", "--ids", "5 6 7", "--format", "json")
    content = json.loads(maskviz(*asked, expect=5).stdout)
    reasons = {rule: one["reason"] for one in content["unasked"] for rule in one["rules"]}
    assert reasons["N6"] == "Qwen2ForCausalLM does not give its input embeddings"
    assert ids_of(content["findings"]) == ["L1"]


def test_a_leak_of_a_mask_of_ones_own_is_laid_to_the_mask(check: Check, folders: dict[str, str]) -> None:
    only_padding = np.broadcast_to(KEEP[:, None, None, :], (2, 1, LENGTH, LENGTH))
    for mask in (only_padding, KEEP[:, None, None, :]):
        (finding,) = check(folders["llama"], *ROWS, mask=mask)
        assert (finding["id"], finding["where"]) == ("L1", "layers 0-2")
        assert "the mask that was given shows later tokens" in finding["message"]
        assert finding["tried"].startswith("with mask & causal: ") and number(finding["tried"]) < 1e-5
        assert finding["fix"] == "Give mask & causal."


def test_an_inverted_triangle_in_a_batchs_company_is_turned_round(check: Check, folders: dict[str, str]) -> None:
    findings = {one["id"]: one for one in check(folders["llama"], ROWS[1], mask=~CAUSAL[None, None])}
    assert "T1" in findings
    assert findings["L1"]["tried"].startswith("with ~mask: ")


def test_a_mask_without_its_padding_is_right_beside_a_batch_that_has_none(
    check: Check, folders: dict[str, str]
) -> None:
    assert check(folders["llama"], ROWS[1], mask=CAUSAL[None, None]) == []


def test_three_axes_are_named_with_the_axis_that_is_missing(check: Check, folders: dict[str, str]) -> None:
    mask = np.broadcast_to(KEEP[:, None, :], (2, LENGTH, LENGTH)) & True
    (finding,) = check(folders["bert"], *ROWS, mask=mask)
    assert (finding["id"], finding["fix"]) == ("T10", "Give it its head axis: mask[:, None].")


def test_a_mask_of_keys_with_four_axes_is_that_of_two(
    maskviz: Maskviz, folders: dict[str, str], tmp_path: Path
) -> None:
    for name, mask in (("two", KEEP), ("four", KEEP[:, None, None, :])):
        np.save(tmp_path / f"{name}.npy", mask if name == "four" else mask.astype(np.int64))
        ids = [option for row in ROWS for option in ("--ids", " ".join(map(str, row["input_ids"])))]
        files = ("--mask", str(tmp_path / f"{name}.npy"), "-o", str(tmp_path / f"{name}.npz"))
        maskviz("show", "-m", folders["bert"], *ids, *files)
    from maskviz import load_trace

    two, four = (load_trace(tmp_path / f"{name}.npz") for name in ("two", "four"))
    for one, other in zip(two.calls, four.calls, strict=True):
        assert (one.mask.visible == other.mask.visible).all()
        assert one.pattern is not None and other.pattern is not None
        assert np.abs(one.pattern - other.pattern)[:, :, :4].max() < 1e-5


def test_positions_that_run_on_through_branches_are_found_and_those_of_the_tree_are_right(
    check: Check, folders: dict[str, str]
) -> None:
    row = {"input_ids": list(IDS)}
    (finding,) = check(folders["llama"], row, mask=TREE[None, None])
    assert (finding["id"], finding["message"]) == ("P12", "token 4 sees 3 keys with its own, and has position 4")
    assert number(finding["measured"]) > 1e-3
    assert check(folders["llama"], row | {"position_ids": OF_THE_TREE}, mask=TREE[None, None]) == []


def test_numbers_of_packed_texts_in_a_mask_are_read_as_one_and_the_texts_cross(
    check: Check, folders: dict[str, str]
) -> None:
    row = {"input_ids": list(IDS), "attention_mask": [1, 1, 1, 2, 2, 0], "position_ids": [0, 1, 2, 0, 1, 0]}
    (finding,) = check(folders["llama"], row)
    assert finding["id"] == "K1" and "the attention_mask numbers the texts" in finding["message"]
    model: Any = tiny("llama")
    ids, other = torch.tensor([IDS]), torch.tensor([[6, 18, 4, *IDS[3:]]])
    more = {
        "attention_mask": torch.tensor([row["attention_mask"]]),
        "position_ids": torch.tensor([row["position_ids"]]),
    }
    with torch.no_grad():
        moved = (model(ids, **more).logits - model(other, **more).logits)[0, 3:5].abs().max()
    assert number(finding["measured"]) == pytest.approx(float(moved), rel=0.05)


def test_three_axes_of_positions_are_taken(check: Check, tmp_path: Path) -> None:
    text: dict[str, Any] = {"vocab_size": 60, "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
    text |= {"num_attention_heads": 4, "num_key_value_heads": 2}
    text |= {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 10000.0}}
    config = transformers.Qwen2VLConfig(
        text_config=text, vision_config={"depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 4}
    )
    transformers.Qwen2VLForConditionalGeneration(config).save_pretrained(tmp_path / "model")
    axes = [[0, 1, 2, 3, 4, 5], [0, 1, 1, 2, 2, 3], [0, 1, 2, 1, 2, 3]]
    assert check(str(tmp_path / "model"), {"input_ids": list(IDS), "position_ids": axes}) == []
    whole = {"input_ids": [list(IDS)], "position_ids": [[axis] for axis in axes]}
    assert check(str(tmp_path / "model"), whole) == []


def test_the_decoder_of_two_stacks_is_asked_whether_it_sees_ahead(check: Check, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.FSMTConfig(
        langs=["en", "de"], src_vocab_size=60, tgt_vocab_size=60, d_model=32, encoder_layers=2, decoder_layers=2,
        encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=32, decoder_ffn_dim=32,
        max_position_embeddings=64, init_std=0.5,
    )  # fmt: skip
    transformers.FSMTForConditionalGeneration(config).save_pretrained(tmp_path / "model")
    row = ROWS[1] | {"decoder_input_ids": [2, 9, 10, 11], "decoder_attention_mask": [1, 1, 1, 1]}
    (finding,) = check(str(tmp_path / "model"), row)
    assert finding["id"] == "L1" and "decoder layers 0-1 show later tokens" in finding["message"]
    assert finding["tried"] == "with use_cache=False: 0" and finding["fix"] == "Use use_cache=False."
    assert check(str(tmp_path / "model"), row, more=("--no-cache",)) == []


def test_labels_alone_are_shifted_into_the_decoder_as_the_class_does_it(maskviz: Maskviz, tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [row | {"labels": labels} for row, labels in zip(ROWS, ([5, 6, 7, -100], [5, 6, 7, 8]), strict=True)]
    file.write_text("\n".join(map(json.dumps, rows)))
    asked = ("check", "-m", "demo:t5", "--file", str(file), "--fail-on", "note")
    assert "no decoder_input_ids: the labels, shifted as the class shifts them" in " ".join(
        maskviz(*asked).stdout.split()
    )
    path = tmp_path / "inputs.npz"
    np.savez(path, input_ids=np.array([ROWS[1]["input_ids"]]), labels=np.array([[5, 6, 7, 8]]))
    assert "no findings" in maskviz("check", "-m", "demo:t5", "--inputs", str(path), "--fail-on", "note").stdout
    file.write_text(json.dumps(ROWS[1]))
    assert "the rows have no decoder_input_ids" in maskviz(*asked, expect=2).stderr


def test_a_class_that_is_no_decoder_by_its_config_is_told_so(check: Check, tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=32,
        max_position_embeddings=32, initializer_range=0.3,
    )  # fmt: skip
    transformers.BertLMHeadModel(config).save_pretrained(tmp_path / "model")
    (finding,) = check(str(tmp_path / "model"), ROWS[1])
    assert finding["id"] == "L1" and finding["fix"] == "Use is_decoder=True in the config."


def test_a_window_that_no_layer_has_is_said_with_the_key_that_keeps_it_away(maskviz: Maskviz, tmp_path: Path) -> None:
    config = {"model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "vocab_size": 60, "hidden_size": 32}
    config |= {"intermediate_size": 40, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2}
    config |= {"head_dim": 8, "sliding_window": 4, "use_sliding_window": True}
    path = tmp_path / "config.json"
    because = "max_window_layers is 28, its default, and there are 4 layers"
    path.write_text(json.dumps(config))
    asked = ("check", "-m", str(path), "--ids", "5 6 7 8 9 10", "--format", "json")
    (finding,) = json.loads(maskviz(*asked).stdout)["findings"]
    assert finding["id"] == "L13" and finding["message"].endswith(because)
    assert because in " ".join(maskviz("info", str(path)).stdout.split())
    for right in ({"max_window_layers": 2}, {"use_sliding_window": False}):
        path.write_text(json.dumps(config | right))
        assert json.loads(maskviz(*asked).stdout)["findings"] == []


def test_a_rendered_template_with_its_first_token_twice_is_found(maskviz: Maskviz, tmp_path: Path) -> None:
    row = {"input_ids": [1, 1, 5, 6]}
    file = tmp_path / "rows.jsonl"
    config = tmp_path / "config.json"
    numbers = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": 60, "hidden_size": 32}
    numbers |= {"intermediate_size": 40, "num_hidden_layers": 1, "num_attention_heads": 4, "bos_token_id": 1}
    config.write_text(json.dumps(numbers))
    file.write_text(json.dumps(row))
    asked = ("check", "-m", str(config), "--file", str(file), "--format", "json")
    (finding,) = json.loads(maskviz(*asked).stdout)["findings"]
    assert finding["id"] == "B7" and "add_special_tokens=False" in finding["fix"]


def test_a_mask_that_is_said_to_be_meant_is_no_leak_and_every_other_cell_is_found(
    check: Check, folders: dict[str, str]
) -> None:
    prefix = CAUSAL | (np.arange(LENGTH) < 3)
    assert ids_of(check(folders["llama"], ROWS[1], mask=prefix[None, None])) == ["L1"]
    window = CAUSAL & ~np.tril(CAUSAL, -3)
    meant = ("--meant", "causal & window(3)")
    assert check(folders["llama"], ROWS[1], mask=window[None, None], more=meant) == []
    (finding,) = check(folders["llama"], ROWS[1], mask=CAUSAL[None, None], more=meant)
    assert (finding["id"], finding["where"]) == ("T11", "layers 0-2")
    count = int((CAUSAL & ~window).sum())
    assert f"{count} visible that the rule blocks, the first query 3, key 0 of row 1" in finding["message"]


@pytest.mark.parametrize(
    ("part", "values", "expected"),
    [
        ("labels", [5, 17, 3], ["B1"]),
        ("labels", [5, 17, 3, 42, 8, 9_999], ["B2"]),
        ("labels", [5, 17, 3, 42, 8, -1], ["B2"]),
        ("labels", [-100] * LENGTH, ["B3"]),
        ("assistant_masks", [0] * LENGTH, ["B4", "B5"]),
        ("attention_masks", [1] * LENGTH, ["B5"]),
        ("input_ids", [True, False, True, True, True, True], ["B6"]),
        ("special_tokens_mask", [0] * LENGTH, []),
        ("labels", list(IDS), []),
    ],
)
def test_what_comes_in_a_row_beside_its_masks_is_read(
    check: Check, folders: dict[str, str], part: str, values: list[Any], expected: list[str]
) -> None:
    assert ids_of(check(folders["llama"], ROWS[1] | {part: values})) == expected


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".pt"])
def test_inputs_of_a_forward_are_asked_the_same_as_rows(
    maskviz: Maskviz, folders: dict[str, str], tmp_path: Path, suffix: str
) -> None:
    from safetensors.numpy import save_file

    arrays: dict[str, Any] = {
        "input_ids": np.array([ROWS[0]["input_ids"], ROWS[1]["input_ids"]]),
        "attention_mask": np.ones((2, 1, LENGTH, LENGTH), np.bool_),
        "labels": np.full((2, LENGTH), -100),
    }
    path = tmp_path / f"inputs{suffix}"
    if suffix == ".npz":
        np.savez(path, **arrays)
    elif suffix == ".pt":
        torch.save({name: torch.from_numpy(one) for name, one in arrays.items()}, path)
    else:
        save_file(arrays, path)
    answer = maskviz("check", "-m", folders["llama"], "--inputs", str(path), "--format", "json", expect=5)
    content = json.loads(answer.stdout)
    assert ids_of(content["findings"]) == ["P10", "B3", "B3", "L1"]
    assert content["forward_passes"] > 3


def test_a_batch_of_packed_inputs_is_asked_whether_its_texts_cross(
    maskviz: Maskviz, folders: dict[str, str], tmp_path: Path
) -> None:
    path = tmp_path / "inputs.npz"
    np.savez(path, input_ids=np.array([IDS]), position_ids=np.array([[0, 1, 2, 0, 1, 2]]))
    answer = maskviz("check", "-m", folders["llama"], "--inputs", str(path), "--format", "json", expect=5)
    assert ids_of(json.loads(answer.stdout)["findings"]) == ["K1"]


def test_a_check_says_what_it_took_and_what_it_could_not_ask(maskviz: Maskviz, folders: dict[str, str]) -> None:
    calls = []
    original = transformers.LlamaForCausalLM.forward

    def counted(self: Any, *arguments: Any, **more: Any) -> Any:
        calls.append(1)
        return original(self, *arguments, **more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(transformers.LlamaForCausalLM, "forward", counted)
        asked = ("check", "-m", folders["llama"], "--ids", "5 6 7", "--ids", "5 6")
        content = json.loads(maskviz(*asked, "--format", "json").stdout)
    assert content["forward_passes"] == len(calls) > 0
    page = " ".join(maskviz(*asked).stdout.split())
    assert f"{len(calls)} forward passes" in page
    assert "not asked: P5, B1-B3, B8-B9 (no labels are given)" in page
