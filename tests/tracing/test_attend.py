"""The reference attention is torch's own, and the captured calls are the reference attention."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import multi_head_attention_forward, scaled_dot_product_attention

from maskviz.tracing.attend import HeadProjections, attend, attend_heads, join_heads, split_heads
from tests.tracing.conftest import example_of


@settings(deadline=None, max_examples=40)
@given(
    st.integers(1, 3),
    st.sampled_from([1, 2, 4]),
    st.integers(1, 6),
    st.integers(1, 6),
    st.integers(0, 2**31),
    st.booleans(),
)
def test_reference_is_torchs_multi_head_attention(
    batch: int, heads: int, queries: int, keys: int, seed: int, biased: bool
) -> None:
    generator = torch.Generator().manual_seed(seed)
    width = heads * 4

    def numbers(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    x, y = numbers(batch, queries, width), numbers(batch, keys, width)
    q, k, v, o = (numbers(width, width) for _ in range(4))
    bias = numbers(4, width) if biased else None
    visible = torch.rand(queries, keys, generator=generator) < 0.6
    visible[:, 0] = True  # torch's own answer to a row that sees nothing is NaN
    ours = attend(x, y, HeadProjections(q, k, v, o, *(bias if bias is not None else [None] * 4)), heads, visible)
    output, pattern = multi_head_attention_forward(
        x.transpose(0, 1),
        y.transpose(0, 1),
        y.transpose(0, 1),
        embed_dim_to_check=width,
        num_heads=heads,
        in_proj_weight=None,
        in_proj_bias=bias[:3].reshape(-1) if bias is not None else None,
        bias_k=None,
        bias_v=None,
        add_zero_attn=False,
        dropout_p=0.0,
        out_proj_weight=o,
        out_proj_bias=bias[3] if bias is not None else None,
        training=False,
        attn_mask=~visible,  # torch's multi-head attention calls True what is blocked
        use_separate_proj_weight=True,
        q_proj_weight=q,
        k_proj_weight=k,
        v_proj_weight=v,
        average_attn_weights=False,
    )
    torch.testing.assert_close(ours.output, output.transpose(0, 1), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(ours.pattern, pattern, atol=1e-5, rtol=1e-5)


def test_a_query_that_sees_nothing_gets_zeros() -> None:
    visible = torch.tensor([[True, False], [False, False]])
    query, key, value = (torch.randn(1, 1, 2, 4) for _ in range(3))
    output, pattern = attend_heads(query, key, value, visible, scale=0.5)
    assert pattern[0, 0, 1].tolist() == [0, 0]
    assert output[0, 0, 1].tolist() == [0, 0, 0, 0]


def test_grouped_queries_repeat_key_heads_in_blocks() -> None:
    torch.manual_seed(0)
    query, key, value = torch.randn(2, 6, 5, 4), torch.randn(2, 2, 5, 4), torch.randn(2, 2, 5, 4)
    visible = torch.ones(5, 5, dtype=torch.bool).tril()
    ours, _ = attend_heads(query, key, value, visible, scale=0.5)
    own = scaled_dot_product_attention(query, key, value, attn_mask=visible, scale=0.5, enable_gqa=True)
    torch.testing.assert_close(ours, own)


def test_splitting_and_joining_heads_are_inverse() -> None:
    x = torch.randn(2, 5, 12)
    assert torch.equal(join_heads(split_heads(x, 3)), x)
    assert torch.equal(split_heads(x, 3)[:, 1], x[:, :, 4:8])


def test_a_gate_before_the_projection_is_a_head_left_out() -> None:
    torch.manual_seed(0)
    x, (q, k, v, o) = torch.randn(1, 4, 8), torch.randn(4, 8, 8)
    visible = torch.ones(4, 4, dtype=torch.bool)
    gated = attend(x, x, HeadProjections(q, k, v, o), 2, visible, gates=torch.tensor([1.0, 0.0]))
    cut = o.clone()
    cut[:, 4:] = 0
    torch.testing.assert_close(gated.output, attend(x, x, HeadProjections(q, k, v, cut), 2, visible).output)


@pytest.mark.parametrize("model_type", ["bert"])
def test_a_captured_call_is_the_reference_attention(model_type: str) -> None:
    example = example_of(model_type)
    layer = example.model.get_submodule("bert.encoder.layer.0.attention")
    embeddings = example.model.get_submodule("bert.embeddings")
    with torch.no_grad():
        hidden = embeddings(input_ids=example.encoded.inputs["input_ids"])
        linear = [layer.get_submodule(name) for name in ("self.query", "self.key", "self.value", "output.dense")]
        weights = HeadProjections(*(one.weight for one in linear), *(one.bias for one in linear))  # type: ignore[arg-type]
        call = example.trace.calls[0]
        reference = attend(hidden, hidden, weights, call.heads, torch.as_tensor(call.mask.visible.copy()))
    assert call.pattern is not None
    torch.testing.assert_close(reference.pattern, torch.as_tensor(call.pattern.copy()), atol=1e-6, rtol=0)
