"""What a model is said to be is read off its class, its config and the file the config is from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from transformers import AttentionInterface

from maskviz.analyse.check import check
from maskviz.core.checks.case import Behaviour, Case
from maskviz.load.models.mask_settings import facts_of
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.experiments.changes import output_size
from maskviz.tracing.experiments.prove import moved_by_last_token
from maskviz.tracing.run import run
from tests.tracing.conftest import loaded_tiny, random_rows


@pytest.mark.parametrize(
    ("model_type", "predicts"),
    [("gpt2", True), ("llama", True), ("bert", False), ("t5", False), ("xlnet", False), ("modernbert", False)],
)
def test_decoders_are_told_from_models_whose_caller_says_what_is_seen(model_type: str, predicts: bool) -> None:
    assert facts_of(loaded_tiny(model_type), {}).predicts_next is predicts


def test_the_file_has_the_last_word_on_what_its_author_wrote() -> None:
    raw = {"layer_types": ["full_attention"] * 3, "use_sliding_window": False, "sliding_window": 7}
    facts = facts_of(loaded_tiny("mistral"), raw)
    assert facts.layer_types == ("full_attention",) * 3
    assert facts.use_sliding_window is False
    assert facts.windows["sliding_window"] == 7
    assert facts_of(loaded_tiny("mistral"), {"text_config": raw}).layer_types == ("full_attention",) * 3
    assert facts_of(loaded_tiny("mistral"), {"layer_types": 3, "output_attentions": True}).asks_weights


@pytest.fixture
def own_attention() -> Iterator[str]:
    """An attention function registered under a name of its own, without a mask function of that name."""

    def attend(module: Any, query: Any, key: Any, value: Any, mask: Any, **more: Any) -> tuple[Any, None]:
        del module, more
        group = query.shape[1] // key.shape[1]
        key, value = (one.repeat_interleave(group, dim=1) for one in (key, value))
        output = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return output.transpose(1, 2).contiguous(), None

    AttentionInterface.register("of_my_own", attend)
    yield "of_my_own"
    AttentionInterface._global_mapping.pop("of_my_own")


def test_attention_that_was_registered_alone_is_found_and_its_leak_measured(own_attention: str) -> None:
    loaded = loaded_tiny("llama")
    model: Any = loaded.model
    before = model.config._attn_implementation
    model.set_attn_implementation(own_attention)
    try:
        encoded = encode(loaded, Request(ids=random_rows((6,))))
        facts = facts_of(loaded, {})
        assert facts.attention_registered and not facts.mask_registered
        trace = run(model, encoded.inputs, encoded.batch, loaded.card)
        size, _ = output_size(model, encoded.inputs, trace)
        moved = moved_by_last_token(model, encoded.inputs, trace)
    finally:
        model.set_attn_implementation(before)
    assert moved is not None
    found = check(Case(model=facts, run=Behaviour(trace, size=size, earlier=moved[0])), ("L1", "L8"))
    assert [one.trap.id for one in found] == ["L1", "L8"]
    assert all("move by up to" in one.measured for one in found)


def test_implementations_of_transformers_have_both_functions() -> None:
    for model_type in ("gpt2", "bloom", "t5"):
        facts = facts_of(loaded_tiny(model_type), {})
        assert facts.attention_registered and facts.mask_registered, facts
