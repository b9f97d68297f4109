"""The callback in transformers' Trainer: real steps of a tiny model, with and without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    DataCollatorForLanguageModeling,
    DataCollatorForSeq2Seq,
    LlamaConfig,
    LlamaForCausalLM,
    Trainer,
    TrainingArguments,
)

from maskviz.load.models.model import load_tokenizer
from maskviz.load.models.source import resolve
from maskviz.training import MaskCheck, MaskFindingsError

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
pytest.importorskip("accelerate")

TEXTS = ["the cat sat in the house", "a dog", "the bird saw a dog and ran", "a cat"] * 3


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(resolve("demo:gpt"))[0]


def trained(tokenizer: Any, folder: Path, collator: Any, *callbacks: Any, labels: bool = False) -> Trainer:
    """Six steps of two rows."""
    torch.manual_seed(0)
    sizes: Any = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), num_key_value_heads=2, **sizes))
    rows = [dict(tokenizer(text)) for text in TEXTS]
    if labels:  # padded already, and every id is a label
        longest = max(len(row["input_ids"]) for row in rows)
        rows = [dict(tokenizer(text, padding="max_length", max_length=longest)) for text in TEXTS]
        rows = [{**row, "labels": list(row["input_ids"])} for row in rows]
    settings: Any = {"report_to": [], "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "seed": 0}
    arguments = TrainingArguments(
        str(folder), per_device_train_batch_size=2, num_train_epochs=1, use_cpu=True, **settings
    )
    trainer = Trainer(model, arguments, data_collator=collator, train_dataset=rows, callbacks=list(callbacks))
    trainer.train()
    return trainer


def test_a_training_is_to_the_last_bit_what_it_is_without_the_callback(tokenizer: Any, tmp_path: Path) -> None:
    collator = DataCollatorForLanguageModeling(tokenizer, mlm=False)
    callback = MaskCheck(every=2, first=1)
    plain, watched = (trained(tokenizer, tmp_path, collator, *one) for one in ((), (callback,)))
    assert callback.check.checked == 3  # steps 0, 2 and 4
    for (name, one), other in zip(plain.model.named_parameters(), watched.model.parameters(), strict=True):  # type: ignore[union-attr]
        assert torch.equal(one, other), name
    assert not any(part._forward_pre_hooks for part in watched.model.modules())  # type: ignore[union-attr]


def test_labels_on_padding_end_the_training_at_the_first_step(tokenizer: Any, tmp_path: Path) -> None:
    def collate(rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}

    with pytest.raises(MaskFindingsError, match="P5") as raised:
        trained(tokenizer, tmp_path, collate, MaskCheck(fail_on="note"), labels=True)
    assert raised.value.step == 0


def test_a_collator_that_pads_labels_passes(tokenizer: Any, tmp_path: Path) -> None:
    class Labelled(DataCollatorForSeq2Seq):
        def __call__(self, features: Any, return_tensors: Any = None) -> Any:
            collate: Any = super().__call__
            return collate([{**row, "labels": list(row["input_ids"])} for row in features], return_tensors)

    callback = MaskCheck(first=2, every=0)
    trained(tokenizer, tmp_path, Labelled(tokenizer), callback)
    assert callback.check.checked == 2
