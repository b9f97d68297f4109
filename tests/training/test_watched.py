"""Batches on their way into a training loop: a wrong one is caught, a right one passes, and nothing is moved."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import DataCollatorForLanguageModeling, LlamaConfig, LlamaForCausalLM

import maskviz
from maskviz.api.watched import BatchCheck, MaskFindingsError, MaskWarning, rows_of
from maskviz.load.models.model import load_tokenizer
from maskviz.load.models.source import resolve

TEXTS = ["the cat sat in the house", "a dog", "the bird saw a dog and ran", "a cat"]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    found, _ = load_tokenizer(resolve("demo:gpt"))
    assert found is not None
    return found


@pytest.fixture
def model(tokenizer: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    sizes: Any = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=2, **sizes))
    model.train()
    return model


@pytest.fixture
def loader(tokenizer: Any) -> DataLoader[Any]:
    """Batches of two, as transformers' collator for language models makes them."""
    rows = [tokenizer(text) for text in TEXTS] * 3
    return DataLoader(rows, batch_size=2, collate_fn=DataCollatorForLanguageModeling(tokenizer, mlm=False))  # type: ignore[arg-type]


def spoilt(batches: Any, at: int) -> Iterator[Mapping[str, Any]]:
    """The same batches, one of them with its mask upside down."""
    for number, batch in enumerate(batches):
        if number == at:
            batch = {**batch, "attention_mask": 1 - batch["attention_mask"]}
        yield batch


def test_every_batch_is_handed_on_untouched(model: LlamaForCausalLM, loader: DataLoader[Any]) -> None:
    plain = list(loader)
    for batch, expected in zip(maskviz.checked(loader, model, first=2, every=3), plain, strict=True):
        assert batch.keys() == expected.keys()
        for name, value in expected.items():
            assert torch.equal(batch[name], value)


def test_a_wrong_batch_raises_before_it_is_used_and_says_what_is_wrong(
    model: LlamaForCausalLM, loader: DataLoader[Any]
) -> None:
    seen = 0
    with pytest.raises(MaskFindingsError) as raised:
        for _ in maskviz.checked(spoilt(loader, 1), model):
            seen += 1
    assert seen == 1
    assert raised.value.step == 1
    assert raised.value.findings.errors
    assert raised.value.message.startswith("batch 1: ")
    assert all(one.rule in raised.value.message for one in raised.value.findings.errors)


def test_only_batches_that_are_due_are_looked_at(model: LlamaForCausalLM, loader: DataLoader[Any]) -> None:
    assert len(list(maskviz.checked(spoilt(loader, 3), model, first=1, every=2))) == len(loader)
    with pytest.raises(MaskFindingsError):
        list(maskviz.checked(spoilt(loader, 4), model, first=1, every=2))
    watch = BatchCheck(first=2, every=5)
    assert [step for step in range(12) if watch.due(step)] == [0, 1, 5, 10]
    assert not any(BatchCheck(first=0, every=0).due(step) for step in range(3))


def test_what_is_let_through_is_a_warning(model: LlamaForCausalLM, loader: DataLoader[Any]) -> None:
    with pytest.warns(MaskWarning, match="batch 0: "):
        list(maskviz.checked(spoilt(loader, 0), model, first=1, every=0, fail_on="never"))


def test_a_model_in_training_is_as_it_was(model: LlamaForCausalLM, loader: DataLoader[Any]) -> None:
    """Mode, gradients, buffers, hooks and generators; the loss that follows is that of a run without a check."""
    batch = next(iter(loader))
    model(**batch).loss.backward()
    before = {name: one.grad.clone() for name, one in model.named_parameters() if one.grad is not None}
    state = torch.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[index]
    hooks = [len(part._forward_pre_hooks) + len(part._forward_hooks) for part in model.modules()]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        BatchCheck().look(model, batch, 0)
    assert all(part.training for part in model.modules())
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.array_equal(np.random.get_state()[1], state[1])  # type: ignore[index]
    assert [len(part._forward_pre_hooks) + len(part._forward_hooks) for part in model.modules()] == hooks
    for name, one in model.named_parameters():
        assert (one.grad is None) == (name not in before)
        assert one.grad is None or torch.equal(one.grad, before[name])


class Summing(nn.Module):
    """Attention of one's own, and the mean of its outputs as a loss."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(16, 4, batch_first=True)

    def forward(self, x: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        return self.attention(x, x, x, key_padding_mask=padding, need_weights=False)[0]  # type: ignore[no-any-return]


def test_a_module_of_ones_own_is_checked_on_what_is_made_of_a_batch() -> None:
    padding = torch.tensor([[False] * 5, [False] * 3 + [True] * 2])
    right = (torch.randn(2, 5, 16), padding, torch.zeros(2))
    wrong = (torch.randn(2, 5, 16), ~padding, torch.zeros(2))

    def inputs(batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        return batch[0], batch[1]

    assert len(list(maskviz.checked([right, right], Summing(), inputs=inputs))) == 2
    with pytest.raises(MaskFindingsError, match="T1"):
        list(maskviz.checked([right, wrong], Summing(), inputs=inputs))


def test_the_first_rows_are_looked_at() -> None:
    ids = torch.arange(12).view(6, 2)
    cut = rows_of({"input_ids": ids, "labels": ids.tolist(), "scale": 2.0, "flag": torch.tensor(1)}, 4)
    assert torch.equal(cut["input_ids"], ids[:4])
    assert cut["labels"] == ids[:4].tolist() and cut["scale"] == 2.0
    assert rows_of((ids, ids[:, 0]), 3)[1].tolist() == [0, 2, 4]
    assert rows_of({"input_ids": ids}, None)["input_ids"] is ids


def test_a_check_says_how_many_forward_passes_it_took(model: LlamaForCausalLM, loader: DataLoader[Any]) -> None:
    watch = BatchCheck()
    found = watch.look(model, next(iter(loader)), 0)
    assert watch.checked == 1
    assert watch.passes == found.checked.passes > 0


@pytest.mark.parametrize("wrong", [{"fail_on": "errors"}, {"first": -1}, {"every": -2}, {"rows": 0}])
def test_what_cannot_be_is_refused_at_once(wrong: Mapping[str, Any]) -> None:
    with pytest.raises(maskviz.MaskvizError):
        BatchCheck(**wrong)


def test_a_right_run_warns_of_nothing(model: LlamaForCausalLM, loader: DataLoader[Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", MaskWarning)
        list(maskviz.checked(loader, model, every=0))
