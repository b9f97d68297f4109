"""Texts packed into one row: what crosses between them is what the model itself attends to."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from packaging.version import Version
from transformers import masking_utils

from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import Trace, crossing_of
from maskviz.load.texts.encode import Encoded, Request, encode
from maskviz.tracing.run import run
from tests.architectures import tiny
from tests.tracing.conftest import loaded_tiny, random_rows

LENGTHS = (4, 6, 3)

# Types that read restarting positions where there is neither a cache nor a mask, with the rules that shows.
SEPARATING = {
    "gpt2": {"causal ∧ document"},
    "llama": {"causal ∧ document"},
    "mistral": {"causal ∧ window(4) ∧ document"},
    "gemma2": {"causal ∧ document", "causal ∧ window(4) ∧ document"},
    "gemma3": {"causal ∧ document", "causal ∧ window(4) ∧ document"},
    "qwen3": {"causal ∧ document"},
    "llama4": {"causal ∧ document", "causal ∧ chunk(4) ∧ document"},
}
# Types that take position ids and never look for packed texts in them.
NEVER = ["gpt_oss", "xglm"]
if Version(transformers.__version__) >= Version("5.24"):
    SEPARATING["falcon"] = {"causal ∧ document"}
else:
    NEVER.append("falcon")


def packed(model_type: str, *, no_cache: bool) -> tuple[Trace, Encoded]:
    loaded = loaded_tiny(model_type)
    encoded = encode(loaded, Request(ids=random_rows(LENGTHS), packed=True, no_cache=no_cache))
    return run(loaded.model, encoded.inputs, encoded.batch, loaded.card), encoded


def own_attentions(model_type: str, encoded: Encoded) -> list[Any]:
    """What the model returns under output_attentions=True, built eager and never tapped."""
    with torch.no_grad():
        returned: Any = tiny(model_type, attention="eager")(**copy.deepcopy(encoded.inputs), output_attentions=True)
    return [one.numpy() for one in returned.attentions]


@pytest.mark.parametrize("no_cache", [False, True])
@pytest.mark.parametrize("model_type", [*SEPARATING, *NEVER])
def test_packed_attention_is_what_the_model_returns(model_type: str, no_cache: bool) -> None:
    trace, encoded = packed(model_type, no_cache=no_cache)
    for call, own in zip(trace.calls, own_attentions(model_type, encoded), strict=True):
        np.testing.assert_allclose(call.pattern, own, atol=1e-6, rtol=0)  # type: ignore[arg-type]
        assert np.array_equal(np.broadcast_to(call.mask.visible, own.shape), own > 0)
        assert call.mask.agrees is True
    assert trace.drift is not None
    assert trace.drift < 1e-4


@pytest.mark.parametrize("model_type", SEPARATING)
def test_without_a_cache_the_rule_names_the_document(model_type: str) -> None:
    trace, _ = packed(model_type, no_cache=True)
    rules = {str(call.mask.rule) for call in trace.calls}
    assert rules == SEPARATING[model_type]
    crossing = crossing_of(trace)
    assert crossing is not None
    assert crossing.separated
    first, second = LENGTHS[0], LENGTHS[0] + LENGTHS[1]
    for call in trace.calls:
        assert (call.mask.reasons[0, 0, first:second, :first] & Reason.DOCUMENT).all()


@pytest.mark.parametrize("model_type", SEPARATING)
def test_separated_texts_are_to_the_model_what_they_are_alone(model_type: str) -> None:
    if model_type == "llama4" and not hasattr(masking_utils, "remap_positions_for_packed_sequence"):
        pytest.skip("transformers before 5.10 counts a packed text's chunks from the start of the row")
    loaded = loaded_tiny(model_type)
    _, encoded = packed(model_type, no_cache=True)
    with torch.no_grad():
        together: Any = loaded.model(**encoded.inputs).logits[0]
        start = 0
        for row in random_rows(LENGTHS):
            alone: Any = loaded.model(input_ids=torch.tensor([row]), use_cache=False).logits[0]
            torch.testing.assert_close(together[start : start + len(row)], alone, atol=2e-4, rtol=1e-4)
            start += len(row)


@pytest.mark.parametrize("model_type", [*SEPARATING, *NEVER])
def test_with_a_cache_texts_see_each_other_and_how_much_is_the_naive_sum(model_type: str) -> None:
    trace, encoded = packed(model_type, no_cache=False)
    crossing = crossing_of(trace)
    assert crossing is not None
    assert not crossing.separated
    owner = [text for text, length in enumerate(LENGTHS) for _ in range(length)]
    given: list[list[float]] = [[] for _ in LENGTHS]
    for maps in own_attentions(model_type, encoded):
        for head in maps[0]:
            for query, row in enumerate(head):
                mass = sum(float(weight) for key, weight in enumerate(row) if owner[key] != owner[query])
                given[owner[query]].append(mass)
    assert crossing.attention == pytest.approx([np.mean(shares) for shares in given], abs=1e-6)
    assert crossing.attention[0] == 0, "a decoder's first text sees no other"


@pytest.mark.parametrize("model_type", NEVER)
def test_types_that_never_look_are_found_out(model_type: str) -> None:
    crossing = crossing_of(packed(model_type, no_cache=True)[0])
    assert crossing is not None
    assert not crossing.separated


def test_a_model_that_changes_its_inputs_is_run_on_the_same_ones_twice() -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, Request(ids=random_rows(LENGTHS), packed=True))
    own = loaded.model.forward

    def forward(position_ids: torch.Tensor, **inputs: Any) -> Any:
        position_ids += 2
        return own(position_ids=position_ids, **inputs)

    loaded.model.forward = forward
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    assert trace.drift is not None
    assert trace.drift < 1e-4
    assert np.array_equal(encoded.inputs["position_ids"].numpy(), encoded.batch.position_ids)  # type: ignore[arg-type]


def test_a_batch_that_is_not_packed_has_no_crossing() -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, Request(ids=random_rows(LENGTHS)))
    assert crossing_of(run(loaded.model, encoded.inputs, encoded.batch, loaded.card)) is None


def test_the_first_token_of_a_packed_text_is_predicted_by_nothing() -> None:
    trace, _ = packed("llama", no_cache=True)
    assert trace.outputs is not None
    assert trace.outputs.token_loss is not None
    starts = {0, LENGTHS[0], LENGTHS[0] + LENGTHS[1]}
    assert set(np.flatnonzero(np.isnan(trace.outputs.token_loss[0])).tolist()) == starts
