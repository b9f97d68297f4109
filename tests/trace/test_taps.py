"""Listening leaves no trace of itself, and hears what it should."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from maskviz.core.errors import CannotTraceError
from maskviz.core.heads import HeadMask, parse_head_mask
from maskviz.load.encode import encode
from maskviz.trace.recorder import Recorder
from maskviz.trace.run import head_shapes, run, run_gated
from maskviz.trace.taps import NAME, listening, uses_interface
from tests.architectures import tiny
from tests.trace.conftest import Example, example_of, loaded_tiny, padded_request


def state(model: PreTrainedModel) -> tuple[object, ...]:
    """Everything listening may touch."""
    modules = list(model.modules())
    return (
        [len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules],
        [module.training for module in modules],
        [getattr(getattr(module, "config", None), "_attn_implementation_internal", None) for module in modules],
        dict(ALL_ATTENTION_FUNCTIONS._global_mapping),
        dict(ALL_ATTENTION_FUNCTIONS._local_mapping),
        dict(ALL_MASK_ATTENTION_FUNCTIONS._global_mapping),
        dict(ALL_MASK_ATTENTION_FUNCTIONS._local_mapping),
        torch._C._len_torch_function_stack(),
    )


@pytest.mark.parametrize("model_type", ["bert", "gpt_oss", "t5", "bloom", "falcon"])
@pytest.mark.parametrize("training", [True, False])
def test_listening_restores_everything(model_type: str, training: bool) -> None:
    loaded = loaded_tiny(model_type)
    encoded = encode(loaded, padded_request(model_type))
    loaded.model.train(training)
    before = copy.deepcopy(state(loaded.model)[:3]), state(loaded.model)[3:]
    run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    assert state(loaded.model)[:3] == before[0]
    assert state(loaded.model)[3:] == before[1]


@pytest.mark.parametrize("model_type", ["bert", "bloom"])
def test_listening_restores_everything_when_the_model_raises(model_type: str) -> None:
    model = tiny(model_type)
    before = copy.deepcopy(state(model)[:3]), state(model)[3:]
    with pytest.raises(ZeroDivisionError), listening(model, Recorder(rows=1)):
        assert state(model)[3:] != before[1], "this test must be able to fail"
        1 / 0  # noqa: B018
    assert (state(model)[:3], state(model)[3:]) == before


def test_our_name_is_in_no_registry_afterwards() -> None:
    example_of("bert")
    assert NAME not in ALL_ATTENTION_FUNCTIONS
    assert NAME not in ALL_MASK_ATTENTION_FUNCTIONS


def test_calls_that_receive_one_mask_share_it() -> None:
    trace = example_of("gemma3").trace
    assert trace.calls[1].mask is trace.calls[2].mask
    assert trace.calls[0].mask is not trace.calls[1].mask


def test_sinks_take_what_the_rows_do_not_sum_to() -> None:
    pattern = example_of("gpt_oss").trace.calls[0].pattern
    assert pattern is not None
    assert (pattern.sum(-1) < 0.9999).any()


def test_grouped_queries_keep_their_key_heads() -> None:
    assert (example_of("llama").trace.calls[0].heads, example_of("llama").trace.calls[0].key_heads) == (4, 2)
    assert example_of("falcon").trace.calls[0].key_heads == 1


def test_relative_positions_are_kept_as_a_bias() -> None:
    model = example_of("t5").model
    if not uses_interface(model):
        pytest.skip("this release of transformers writes T5's attention by hand: its bias is part of the scores")
    mask = example_of("t5").trace.calls[0].mask
    assert mask.bias is not None
    assert mask.bias.shape == (1, 4, 9, 9)


def test_padding_queries_are_not_real() -> None:
    example = example_of("llama")
    assert np.array_equal(example.trace.real_queries(example.trace.calls[0]), example.encoded.batch.keep)


@pytest.mark.parametrize("model_type", ["llama", "bloom", "t5"])
def test_gates_of_one_change_nothing_and_fractions_lie_between(model_type: str) -> None:
    example = example_of(model_type)
    ones = HeadMask({stack: np.ones(shape, np.float32) for stack, shape in head_shapes(example.trace).items()})
    assert losses(example, ones) == pytest.approx(losses(example, None), abs=1e-6)
    half, none = losses(example, gate(example, 0.5)), losses(example, gate(example, 0.0))
    assert half != pytest.approx(none, abs=1e-5)
    assert half != pytest.approx(losses(example, None), abs=1e-5)


@pytest.mark.parametrize("model_type", ["llama", "bloom"])
def test_the_map_of_a_silenced_head_is_the_map_before_its_gate(model_type: str) -> None:
    example = example_of(model_type)
    gated = run_gated(example.model, example.encoded.inputs, example.trace, gate(example, 0.0))
    first, plain = gated.calls[0].pattern, example.trace.calls[0].pattern
    assert first is not None
    assert plain is not None
    np.testing.assert_array_equal(first, plain)
    assert not np.array_equal(gated.calls[1].pattern, example.trace.calls[1].pattern)  # type: ignore[arg-type]


def gate(example: Example, value: float) -> HeadMask:
    return parse_head_mask(f"0:1={value}", head_shapes(example.trace))


def losses(example: Example, mask: HeadMask | None) -> float:
    trace = example.trace
    if mask is not None:
        trace = run_gated(example.model, example.encoded.inputs, trace, mask)
    assert trace.outputs is not None
    assert trace.outputs.token_loss is not None
    return float(np.nanmean(trace.outputs.token_loss))


def test_a_model_that_fails_says_what_the_model_said() -> None:
    loaded = loaded_tiny("bert")
    encoded = encode(loaded, padded_request("bert"))
    inputs = {**encoded.inputs, "input_ids": encoded.inputs["input_ids"] + 10_000}
    with pytest.raises(CannotTraceError, match="BertForMaskedLM fails on this input: IndexError"):
        run(loaded.model, inputs, encoded.batch, loaded.card)


def test_a_model_without_attention_is_refused() -> None:
    from transformers import FNetConfig, FNetForMaskedLM

    config = FNetConfig(vocab_size=99, hidden_size=32, num_hidden_layers=2, intermediate_size=40)
    loaded = replace(loaded_tiny("bert"), model=FNetForMaskedLM(config).eval())
    encoded = encode(loaded, padded_request("bert"))
    inputs = {"input_ids": encoded.inputs["input_ids"]}
    with pytest.raises(CannotTraceError, match="no attention was heard"):
        run(loaded.model, inputs, encoded.batch, loaded.card)
