"""Listening leaves no trace of itself, and hears what it should."""

from __future__ import annotations

import copy
import inspect
from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import MambaConfig, MambaForCausalLM, PreTrainedModel, YosoConfig, YosoModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.run.heads import Head, HeadMask, parse_head_mask
from maskviz.core.run.trace import Trace
from maskviz.core.words import Stack
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.listen.recorder import Expected, Recorder
from maskviz.tracing.listen.taps import listening
from maskviz.tracing.meaning.evidence import doubts
from maskviz.tracing.run import head_groups, head_shapes, run, run_gated
from maskviz.tracing.seam.masks import uses_interface
from tests.architectures import tiny
from tests.tracing.conftest import Example, example_of, loaded_tiny, padded_request, random_rows


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
        inspect.getmodule(type(model)).__dict__.get("eager_attention_forward"),
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
    with pytest.raises(ZeroDivisionError), listening(model, Recorder(Expected(1, frozenset({4}), frozenset()))):
        assert state(model)[3:] != before[1], "this test must be able to fail"
        1 / 0  # noqa: B018
    assert (state(model)[:3], state(model)[3:]) == before


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


def run_of(model: PreTrainedModel, request: Request) -> Trace:
    loaded = Loaded(model.eval(), None, card_of(model.config, "tiny", type(model).__name__))
    encoded = encode(loaded, request)
    return run(model, encoded.inputs, encoded.batch, loaded.card)


def test_layers_without_an_attention_matrix_are_named_for_what_they_are() -> None:
    config = MambaConfig(vocab_size=99, hidden_size=32, num_hidden_layers=2, state_size=4)
    trace = run_of(MambaForCausalLM(config), Request(ids=random_rows((7,))))
    assert trace.calls == ()
    assert {(layer.stack.value, layer.layer, layer.kind) for layer in trace.silent} == {
        ("decoder", 0, "state space"),
        ("decoder", 1, "state space"),
    }
    assert trace.notes == ("layers 0-1: state space (MambaMixer), no attention matrix",)


def test_attention_that_is_not_linear_in_its_values_is_not_laid_out() -> None:
    """YOSO normalises what its heads put out: no row of weights says what it did."""
    config = YosoConfig(vocab_size=99, hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=40)
    trace = run_of(YosoModel(config), Request(ids=random_rows((8,))))
    assert trace.calls == ()
    assert trace.notes == ("layer 0: hashed attention without a softmax (YosoSelfAttention), no attention matrix",)


def test_a_gate_on_a_head_that_did_not_run_is_refused() -> None:
    example = example_of("llama")
    gates = np.ones((4, 4), np.float32)
    gates[3, 0] = 0
    with pytest.raises(UsageError, match=r"head 3\.0 has no attention to gate"):
        run_gated(example.model, example.encoded.inputs, example.trace, HeadMask({"decoder": gates}))


def test_layers_may_have_different_numbers_of_heads() -> None:
    model = tiny("llama")
    attention = model.get_submodule("model.layers.1.self_attn")
    attention.q_proj = torch.nn.Linear(32, 16, bias=False)
    attention.k_proj = torch.nn.Linear(32, 8, bias=False)
    attention.v_proj = torch.nn.Linear(32, 8, bias=False)
    attention.o_proj = torch.nn.Linear(16, 32, bias=False)
    loaded = replace(loaded_tiny("llama"), model=model)
    encoded = encode(loaded, padded_request("llama"))
    trace = run(model, encoded.inputs, encoded.batch, loaded.card)
    assert [call.heads for call in trace.calls] == [4, 2, 4]
    after = run_gated(model, encoded.inputs, trace, parse_head_mask("1:1", head_shapes(trace)))
    assert after.outputs is not None
    with pytest.raises(UsageError, match=r"head 1\.3 has no attention"):
        run_gated(model, encoded.inputs, trace, parse_head_mask("1:3", head_shapes(trace)))


def test_silencing_a_key_head_is_zeroing_its_values_in_the_models_own_weights() -> None:
    example = example_of("llama")
    trace = example.trace
    assert head_groups(trace) == {"decoder": (2, 2, 2)}
    mask = parse_head_mask("kv:1.1", head_shapes(trace), head_groups(trace))
    assert mask.changed() == (("decoder", Head(1, 2), 0.0), ("decoder", Head(1, 3), 0.0))
    gated = run_gated(example.model, example.encoded.inputs, trace, mask)
    zeroed = copy.deepcopy(example.model)
    with torch.no_grad():
        zeroed.get_submodule("model.layers.1.self_attn.v_proj").weight[8:] = 0  # type: ignore[operator]
    plain = run(zeroed, example.encoded.inputs, example.encoded.batch, trace.card)
    assert gated.outputs is not None
    assert plain.outputs is not None
    np.testing.assert_allclose(gated.outputs.logits, plain.outputs.logits, atol=1e-5)


def test_what_fails_only_while_listening_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_tiny("bert")
    encoded = encode(loaded, padded_request("bert"))
    own = loaded.model.forward

    def forward(**inputs: torch.Tensor) -> object:
        if loaded.model.config._attn_implementation == "eager":
            raise torch.OutOfMemoryError("too much")
        return own(**inputs)

    monkeypatch.setattr(loaded.model, "forward", forward)
    with pytest.raises(CannotTraceError, match="too little memory"):
        run(loaded.model, encoded.inputs, encoded.batch, loaded.card)


def test_a_bug_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskviz.tracing.listen.recorder.visible_cells", None)
    loaded = loaded_tiny("bert")
    encoded = encode(loaded, padded_request("bert"))
    with pytest.raises(TypeError, match="not callable"):
        run(loaded.model, encoded.inputs, encoded.batch, loaded.card)


def test_every_module_gets_its_own_mode_back() -> None:
    loaded = loaded_tiny("bert")
    loaded.model.train()
    loaded.model.get_submodule("bert").eval()
    encoded = encode(loaded, padded_request("bert"))
    run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    assert loaded.model.training
    assert not loaded.model.get_submodule("bert").training


def test_an_attention_class_may_be_inherited_elsewhere() -> None:
    from transformers.models.bert.modeling_bert import BertSelfAttention

    own = type("OwnAttention", (BertSelfAttention,), {"__module__": __name__})
    loaded = loaded_tiny("bert")
    loaded.model.get_submodule("bert.encoder.layer.0.attention.self").__class__ = own
    encoded = encode(loaded, padded_request("bert"))
    assert len(run(loaded.model, encoded.inputs, encoded.batch, loaded.card).calls) == 3


def test_one_padded_token_of_an_encoder_is_an_encoder() -> None:
    loaded = loaded_tiny("bert")
    encoded = encode(loaded, Request(ids=((5,),), pad_to=4))
    assert run(loaded.model, encoded.inputs, encoded.batch, loaded.card).calls[0].stack is Stack.ENCODER


def test_rounding_in_16_bits_is_no_doubt_and_no_shift_of_positions() -> None:
    from maskviz.tracing.meaning.evidence import position_note

    loaded = loaded_tiny("llama")
    loaded.model.bfloat16()
    encoded = encode(loaded, padded_request("llama"))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    assert trace.notes == ()
    assert position_note(loaded.model, encoded.inputs, trace) == ()


def test_more_than_rounding_is_a_doubt() -> None:
    trace = replace(example_of("llama").trace, drift=5.0)
    assert "more than rounding" in doubts(trace, torch.ones(3, 9, 99))[0]
    assert "NaN" in doubts(replace(trace, drift=float("nan")), torch.ones(3, 9, 99))[0]


def test_a_run_that_is_doubted_says_so_beside_its_note(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, padded_request("llama"))
    assert not run(loaded.model, encoded.inputs, encoded.batch, loaded.card).doubted
    monkeypatch.setattr("maskviz.tracing.run.largest_difference", lambda *_: 5.0)
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    assert trace.doubted and "do not rely on this run" in trace.notes[-1]
