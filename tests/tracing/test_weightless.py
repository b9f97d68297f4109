"""A model without weights is masked as the same model with them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from transformers import PreTrainedModel

from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.run.heads import parse_head_mask
from maskviz.core.run.trace import CONTENT, Trace
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded
from maskviz.load.models.weights import with_random_weights, without_weights
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.calling import check_fits, is_weightless
from maskviz.tracing.listen.shadow import Shadow
from maskviz.tracing.run import head_shapes, run_gated
from tests.architectures import ARCHITECTURES, MORE
from tests.traced import traced
from tests.tracing.conftest import Example, padded_request, random_rows


def bare(model_type: str) -> PreTrainedModel:
    config_name, class_name, numbers = (ARCHITECTURES | MORE)[model_type]
    model: PreTrainedModel = without_weights(
        getattr(transformers, class_name), getattr(transformers, config_name)(**numbers)
    )
    return model


def trace_of(model: PreTrainedModel, request: Request) -> Trace:
    return traced(Loaded(model, None, card_of(model.config, "bare", type(model).__name__)), request).trace


def test_masks_and_rules_are_those_of_the_run_with_weights(example: Example) -> None:
    trace = trace_of(bare(example.model_type), padded_request(example.model_type))
    assert trace.silent == ()
    for call, weighted in zip(trace.calls, example.trace.calls, strict=True):
        assert (call.stack, call.layer, call.heads) == (weighted.stack, weighted.layer, weighted.heads)
        assert np.array_equal(call.mask.visible, weighted.mask.visible)
        assert np.array_equal(call.mask.reasons, weighted.mask.reasons)
        assert call.mask.rule == weighted.mask.rule
        assert call.pattern is None
    assert trace.drift is None
    assert trace.outputs is None


def test_parameters_have_no_numbers_and_buffers_have() -> None:
    model = bare("openai-gpt")
    assert {parameter.device.type for parameter in model.parameters()} == {"meta"}
    assert {buffer.device.type for buffer in model.buffers()} == {"cpu"}
    assert is_weightless(model)
    triangle = next(buffer for name, buffer in model.named_buffers() if name.endswith("attn.bias"))
    assert torch.equal(triangle[0, 0], torch.ones(64, 64).tril())


def test_building_without_weights_leaves_torch_as_it_was() -> None:
    before = torch.nn.Module.register_parameter
    bare("bert")
    assert torch.nn.Module.register_parameter is before
    assert torch.nn.Linear(2, 2).weight.device.type == "cpu"


def test_a_mask_that_depends_on_content_is_said_to_and_not_guessed() -> None:
    """DeepSeek-V3.2's indexer keeps the best 3 keys of each query: only weights can tell which."""
    pytest.importorskip("transformers.models.deepseek_v32")
    config: Any = transformers.AutoConfig.for_model(
        "deepseek_v32",
        vocab_size=99,
        hidden_size=32,
        intermediate_size=40,
        moe_intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        n_routed_experts=4,
        n_group=1,
        topk_group=1,
        num_experts_per_tok=2,
        q_lora_rank=16,
        kv_lora_rank=16,
        qk_rope_head_dim=8,
        qk_nope_head_dim=8,
        v_head_dim=8,
        index_topk=3,
        index_n_heads=4,
        index_head_dim=16,
        first_k_dense_replace=1,
        pad_token_id=0,
    )
    model_class: Any = transformers.AutoModelForCausalLM
    trace = trace_of(without_weights(model_class.from_config, config), Request(ids=random_rows((9,))))
    assert trace.calls == ()
    assert {(layer.layer, layer.kind) for layer in trace.silent} == {(0, CONTENT), (1, CONTENT)}
    assert trace.notes == ("layers 0-1: which cells are blocked depends on content, so weights are needed to tell",)
    weighted = trace_of(with_random_weights(model_class.from_config, config, 0), Request(ids=random_rows((9,))))
    assert (weighted.calls[0].mask.visible[0, 0].sum(-1) == [1, 2, 3, 3, 3, 3, 3, 3, 3]).all()
    assert str(weighted.calls[0].mask.rule) == "causal ∧ opaque(model.layers.0.self_attn: its own choice)"


def test_gates_are_refused_where_there_are_no_numbers() -> None:
    model = bare("bert")
    trace = trace_of(model, padded_request("bert"))
    with pytest.raises(UsageError, match="no"):
        run_gated(model, {}, trace, parse_head_mask("0:1", head_shapes(trace)))


def test_random_weights_are_the_same_for_the_same_seed() -> None:
    config = transformers.BertConfig(**ARCHITECTURES["bert"][2])
    build: Any = transformers.BertModel
    one, same, other = (with_random_weights(build, config, seed) for seed in (1, 1, 2))
    weights = [model.encoder.layer[0].attention.self.query.weight for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_model_that_fails_without_weights_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    model = bare("bert")

    def forward(**_: torch.Tensor) -> None:
        raise RuntimeError("no such thing")

    monkeypatch.setattr(model, "forward", forward)
    with pytest.raises(CannotTraceError, match="cannot be run without weights: RuntimeError: no such thing"):
        trace_of(model, padded_request("bert"))


@pytest.mark.parametrize("seed", [None, 3])
def test_what_a_weight_touches_is_real_and_shaped_as_it_would_be(seed: int | None) -> None:
    weight = torch.empty(5, 4, device="meta")
    with Shadow(seed):
        made = torch.ones(2, 3, 4) @ weight.T
        zeros = torch.zeros_like(weight)
        view = weight[1:3]
        number = weight.sum().item()
    assert (made.shape, made.device.type) == ((2, 3, 5), "cpu")
    assert bool(made.any()) is (seed is not None)
    assert (zeros.shape, zeros.device.type) == ((5, 4), "cpu")
    assert view.device.type == "meta"
    assert number == 0


def test_what_no_weight_touches_is_computed() -> None:
    with Shadow():
        assert torch.equal(torch.arange(4)[:, None] >= torch.arange(4), torch.ones(4, 4, dtype=torch.bool).tril())
        assert torch.arange(3, device="meta").tolist() == [0, 1, 2]


def test_experts_are_passed_over_and_put_back() -> None:
    model = bare("gpt_oss")
    experts = [module for module in model.modules() if type(module).__name__.endswith("Experts")]
    assert experts
    trace_of(model, padded_request("gpt_oss"))
    assert not any("forward" in vars(module) for module in experts)


def test_a_run_without_weights_needs_no_room_for_attention_maps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("maskviz.tracing.calling.free_bytes", lambda: 10_000_000)
    model = bare("llama")
    loaded = Loaded(model, None, card_of(model.config, "bare", type(model).__name__))
    batch = encode(loaded, Request(ids=random_rows((60, 60)))).batch
    large = replace(loaded.card, layers=(126,), heads=(128,))
    check_fits(large, batch, weightless=True)
    with pytest.raises(CannotTraceError, match="needs about"):
        check_fits(large, batch)
