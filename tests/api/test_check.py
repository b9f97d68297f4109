"""`maskviz.check` says what the command line says, of names and of model objects, which stay as they were."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
import torch
from transformers import CpmAntConfig, CpmAntForCausalLM, LlamaForCausalLM

import maskviz
from tests.architectures import tiny
from tests.conftest import Response
from tests.store.test_findings import sarif_schema

Maskviz = Callable[..., Response]
check = maskviz.check
TEXTS = ["The cat sat", "The dog ran into the house"]
IDS = torch.tensor([[5, 17, 3, 42, 0, 0], [9, 23, 31, 7, 12, 4]])
KEEP = torch.tensor([[1, 1, 1, 1, 0, 0], [1] * 6])


def of_shell(answer: Response) -> list[tuple[str, ...]]:
    """Findings as the command line writes them."""
    return [
        (one["id"], one["severity"], one["where"], one["message"], one["measured"], one["tried"], one["fix"])
        for one in json.loads(answer.stdout)["findings"]
    ]


def of_python(found: maskviz.Findings) -> list[tuple[str, ...]]:
    return [(one.rule, str(one.severity), one.where, one.message, one.measured, one.tried, one.fix) for one in found]


@pytest.mark.parametrize(
    ("options", "arguments"),
    [
        ({"goal": "generate", "padding_side": "right"}, ("--for", "generate", "--padding-side", "right")),
        ({"goal": None, "padding_side": "left"}, ("--padding-side", "left")),
        ({"goal": "forward", "padding_side": "left", "select": ["P4"]}, ("--for", "forward", "--select", "P4")),
        ({"goal": "forward", "meant": "causal & window(2)"}, ("--for", "forward", "--meant", "causal & window(2)")),
        ({"goal": "forward", "attn": "flash_attention_2"}, ("--for", "forward", "--attn", "flash_attention_2")),
    ],
)
def test_python_and_the_shell_find_the_same(
    maskviz: Maskviz, options: dict[str, Any], arguments: tuple[str, ...]
) -> None:
    shell = maskviz("check", "-m", "demo:gpt", *TEXTS, *arguments, "--format", "json", "--fail-on", "never")
    found = check("demo:gpt", TEXTS, **options)
    assert of_python(found) == of_shell(shell)
    content, theirs = found.to_dict(), json.loads(shell.stdout)
    assert {**content, "command": ""} == {**theirs, "command": ""}


def test_a_batch_of_a_collator_is_asked_as_rows_of_a_file_are(maskviz: Maskviz, tmp_path: Path) -> None:
    model = tiny("gpt2")
    model.save_pretrained(tmp_path / "model")
    left = {"input_ids": IDS.flip(1), "attention_mask": KEEP.flip(1), "labels": torch.full((2, 6), -100)}
    found = check(model, left)
    assert [one.rule for one in found] == ["P4", "B3", "B3"]
    rows = [{name: part[row].tolist() for name, part in left.items()} for row in range(2)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = ("check", "-m", str(tmp_path / "model"), "--file", str(tmp_path / "rows.jsonl"), "--format", "json")
    shell = of_shell(maskviz(*asked, expect=5))
    assert [(one[0], one[1]) for one in of_python(found)] == [(one[0], one[1]) for one in shell]


def test_a_model_in_training_is_afterwards_as_it_was() -> None:
    model: Any = tiny("llama")
    model.train()
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    hooks, seed = dict(model._forward_pre_hooks), torch.get_rng_state()
    given = {"input_ids": IDS, "attention_mask": KEEP, "labels": torch.where(KEEP == 1, IDS, -100)}
    found = check(model, given)
    assert not found and len(found) == 0 and found.errors == found.warnings == found.notes == ()
    assert model.training and all(module.training for module in model.modules())
    assert dict(model._forward_pre_hooks) == hooks and torch.equal(torch.get_rng_state(), seed)
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.named_parameters())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert set(given) == {"input_ids", "attention_mask", "labels"} and torch.equal(given["attention_mask"], KEEP)


def test_padding_ids_that_no_mask_hides_are_padding_among_inputs_too(maskviz: Maskviz, tmp_path: Path) -> None:
    ids = [[0, 0, 0, 271, 649, 964], [271, 649, 964, 310, 260, 606]]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(json.dumps({"input_ids": row}) for row in ids))
    rows = of_shell(
        maskviz("check", "-m", "demo:gpt", "--file", str(file), "--for", "forward", "--format", "json", expect=5)
    )
    found = check("demo:gpt", {"input_ids": ids})
    assert [one[:5] for one in of_python(found)] == [one[:5] for one in rows]
    assert [found[0].rule, found[1].rule] == ["P1", "P4"]


def test_a_column_of_texts_in_a_batch_is_nothing_for_the_model() -> None:
    assert not check("demo:gpt", {"input_ids": [[271, 649, 964]], "text": ["a dog"]})
    with pytest.raises(maskviz.MaskvizError, match="label_names is no array of numbers"):
        maskviz.trace("demo:gpt", {"input_ids": [[271, 649, 964]], "label_names": ["a"]})


def test_a_mask_of_another_length_is_of_another_length_and_no_square() -> None:
    found = check("demo:gpt", {"input_ids": [[271, 649, 964, 5, 6, 7]] * 2}, mask=np.ones((2, 5)))
    assert [(one.rule, one.message) for one in found] == [("P7", "6 tokens and a mask of 5")]


def test_a_mask_of_ones_own_is_laid_to_the_mask() -> None:
    model = tiny("llama")
    found = check(model, {"input_ids": IDS[1:]}, mask=np.ones((1, 1, 6, 6), np.bool_))
    (finding,) = found
    assert finding.rule == "L1" and finding.fix == "Give mask & causal." and found.errors == (finding,)
    assert repr(found) == "<Findings of the batch: 1 error, L1>"


@pytest.mark.parametrize("suffix", [".json", ".sarif", ".txt", ".png", ".svg", ".pdf"])
def test_findings_are_written_by_suffix(tmp_path: Path, suffix: str) -> None:
    found = check("demo:gpt", TEXTS, goal="generate", padding_side="right")
    path = found.save(tmp_path / f"findings{suffix}")
    content = path.read_bytes()
    assert content
    if suffix == ".sarif":
        jsonschema.validate(json.loads(content), sarif_schema())
    if suffix == ".json":
        assert json.loads(content) == found.to_dict()
    if suffix == ".txt":
        assert "P3 error decoder-right-pad-generate" in content.decode()


def test_findings_are_a_picture_in_a_notebook_and_a_page_in_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    found = check("demo:bert", TEXTS)
    assert found._repr_png_().startswith(b"\x89PNG")
    found.show()
    assert "no findings" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"goal": "sleep"}, maskviz.MaskvizError, "there is no goal 'sleep'"),
        ({"select": ["X9"]}, maskviz.MaskvizError, "there is no rule 'X9'"),
        ({"attn": "fast"}, maskviz.MaskvizError, "there is no attention backend 'fast'"),
        ({"meant": "blocks"}, maskviz.MaskvizError, "no known rule"),
        ({"mask": [[1, 0], [1]]}, maskviz.MaskvizError, "no array of numbers"),
        ({"depth": 3}, TypeError, "unexpected keyword argument 'depth'"),
        ({"pool": 8}, TypeError, "unexpected keyword argument 'pool'"),
    ],
)
def test_what_cannot_be_asked_is_said_in_pythons_words(
    options: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as raised:
        check("demo:gpt", "The cat sat", **options)
    assert "--" not in str(raised.value)


def test_a_file_of_another_suffix_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    found = check("demo:bert", "The cat sat")
    with pytest.raises(maskviz.MaskvizError, match="cannot tell the format"):
        found.save(tmp_path / "findings.xml")
    assert not list(tmp_path.iterdir())


def test_a_model_that_puts_prompts_before_its_texts_is_checked() -> None:
    """CPM-Ant's calls have more queries than its batch has tokens."""
    config = CpmAntConfig(
        vocab_size=99,
        hidden_size=32,
        num_attention_heads=4,
        dim_head=8,
        dim_ff=40,
        num_hidden_layers=2,
        prompt_length=2,
    )
    torch.manual_seed(0)
    ids = torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]])
    model: Any = CpmAntForCausalLM(config)
    model.train(False)
    found = check(model, {"input_ids": ids, "attention_mask": (ids > 0).long()})
    assert "P10" not in {one.rule for one in found}


class NumberForEachToken(LlamaForCausalLM):
    """Puts out one number for each token, as a model that says where texts are to be cut does."""

    def forward(self, *arguments: Any, **keywords: Any) -> Any:
        out = super().forward(*arguments, **keywords)
        out.logits = out.logits.logsumexp(dim=-1)
        return out

    forward.__signature__ = inspect.signature(LlamaForCausalLM.forward)  # type: ignore[attr-defined]


def test_packed_texts_of_a_model_that_puts_out_a_number_for_each_token_are_told_apart() -> None:
    """What another first text does to the second is the largest change of its tokens' numbers."""
    config: Any = tiny("llama").config
    model: Any = NumberForEachToken(config)
    model.train(False)
    ids = torch.tensor([[5, 6, 7, 8, 9]])
    packed = {"input_ids": ids, "position_ids": torch.tensor([[0, 1, 2, 0, 1]])}
    assert "K1" not in {one.rule for one in check(model, packed | {"use_cache": False})}
    (crossing,) = [one for one in check(model, packed | {"attention_mask": torch.ones_like(ids)}) if one.rule == "K1"]
    assert "outputs of the others move by up to" in crossing.measured
