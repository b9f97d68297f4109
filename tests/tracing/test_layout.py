"""Attention in bands, blocks and buckets, laid out as query x key, beside the model's own maps laid out by a loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    BigBirdConfig,
    BigBirdModel,
    CanineConfig,
    CanineModel,
    FunnelBaseModel,
    FunnelConfig,
    LongformerConfig,
    LongformerModel,
    LongT5Config,
    LongT5EncoderModel,
    PegasusXConfig,
    PegasusXForConditionalGeneration,
    PreTrainedModel,
    ReformerConfig,
    ReformerModel,
)

from maskviz.core.arrays import FloatArray
from maskviz.core.run.heads import parse_head_mask
from maskviz.core.run.trace import Trace
from maskviz.core.words import Stack
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Request
from maskviz.tracing.run import head_shapes, run_gated
from tests.traced import Traced, traced
from tests.tracing.conftest import random_rows

_SIZES: dict[str, Any] = {
    "vocab_size": 99,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
}


def sharpened(model: PreTrainedModel, *lengths: int, targets: tuple[int, ...] = (), sharp: float = 4.0) -> Traced:
    """A run of a model whose weights are larger, so that its attention is no even one."""
    model.train(False)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(sharp)
    loaded = Loaded(model, None, card_of(model.config, "tiny", type(model).__name__))
    return traced(loaded, Request(ids=random_rows(lengths), target_ids=random_rows(targets)))


def same_on_real_rows(trace: Trace, index: int, expected: FloatArray) -> None:
    call = trace.calls[index]
    assert call.pattern is not None
    real = trace.real_queries(call)
    ours, theirs = (array.transpose(0, 2, 1, 3)[real] for array in (call.pattern, expected))
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)
    visible = np.broadcast_to(call.mask.visible, expected.shape).transpose(0, 2, 1, 3)[real]
    assert np.array_equal(visible, theirs > 0)


def longformer() -> LongformerModel:
    torch.manual_seed(0)
    return LongformerModel(LongformerConfig(**_SIZES, attention_window=4), add_pooling_layer=False)


def test_longformers_band_is_laid_out() -> None:
    model = longformer()
    _, encoded, trace = sharpened(model, 9, 12)
    with torch.no_grad():
        bands: Any = model(**encoded.inputs, output_attentions=True).attentions
    for layer, band in enumerate(bands):  # [batch, head, query, 5]: keys from query - 2 to query + 2
        square = np.zeros((2, 4, 12, 12), np.float32)
        for query in range(12):
            for place in range(5):
                if 0 <= query + place - 2 < 12:
                    square[:, :, query, query + place - 2] = band[:, :, query, place].numpy()
        same_on_real_rows(trace, layer, square)
    assert str(trace.calls[0].mask.rule) == "window(±2) ∧ padding"
    assert trace.calls[0].mask.agrees is True
    assert trace.drift is not None
    assert trace.drift < 1e-4
    assert trace.notes == ()


def test_gates_on_laid_out_attention_zero_the_slice_of_the_projections_input() -> None:
    model = longformer()
    _, encoded, trace = sharpened(model, 9, 12)
    gated = run_gated(model, encoded.inputs, trace, parse_head_mask("0:1; 1:0,3", head_shapes(trace)))
    assert gated.outputs is not None
    assert gated.outputs.hidden is not None
    before: Any = model(**encoded.inputs).last_hidden_state
    for layer, head in ((0, 1), (1, 0), (1, 3)):
        projection: Any = model.get_submodule(f"encoder.layer.{layer}.attention.output.dense")
        with torch.no_grad():
            projection.weight[:, head * 8 : head * 8 + 8] = 0
    with torch.no_grad():
        expected: Any = model(**encoded.inputs).last_hidden_state
    keep = encoded.batch.keep
    np.testing.assert_allclose(gated.outputs.hidden[keep], expected.numpy()[keep], atol=1e-4)
    assert (before - expected).abs().max() > 1e-2, "the gates change nothing"


def test_longt5s_local_blocks_are_a_window() -> None:
    torch.manual_seed(0)
    config = LongT5Config(vocab_size=99, d_model=32, d_kv=8, d_ff=40, num_layers=2, num_heads=4, local_radius=2)
    model = LongT5EncoderModel(config)
    _, encoded, trace = sharpened(model, 7, 11, sharp=1.0)
    with torch.no_grad():
        blocks: Any = model(**encoded.inputs, output_attentions=True).attentions
    for layer, block in enumerate(blocks):  # [batch, block, head, 3, 9]: keys of the block before, of it, and after
        square = np.zeros((2, 4, 11, 11), np.float32)
        for query in range(11):
            for place in range(9):
                key = query // 3 * 3 - 3 + place
                if 0 <= key < 11:
                    square[:, :, query, key] = block[:, query // 3, :, query % 3, place].numpy()
        same_on_real_rows(trace, layer, square)
    assert str(trace.calls[0].mask.rule) == "window(±2) ∧ padding"
    assert trace.notes == ()


def test_a_weight_too_small_for_its_type_is_not_taken_for_a_blocked_cell() -> None:
    torch.manual_seed(0)
    config = LongT5Config(vocab_size=99, d_model=32, d_kv=8, d_ff=40, num_layers=1, num_heads=4, local_radius=2)
    call = sharpened(LongT5EncoderModel(config), 11, sharp=8.0).trace.calls[0]
    assert call.pattern is not None
    assert (call.pattern[0, 0][call.mask.visible[0, 0]] == 0).any(), "this test needs weights that underflow"
    assert str(call.mask.rule) == "window(±2)"


def test_longt5s_block_averages_are_keys_behind_the_text() -> None:
    torch.manual_seed(0)
    config = LongT5Config(
        vocab_size=99,
        d_model=32,
        d_kv=8,
        d_ff=40,
        num_layers=1,
        num_heads=4,
        local_radius=2,
        global_block_size=4,
        encoder_attention_type="transient-global",
    )
    *_, trace = sharpened(LongT5EncoderModel(config), 12)
    call = trace.calls[0]
    assert call.pattern is not None
    assert call.pattern.shape == (1, 4, 12, 15)
    np.testing.assert_allclose(call.pattern.sum(-1), 1, atol=1e-5)
    assert str(call.mask.rule) == "window(±2) ∨ extra keys"


def test_pegasus_x_staggers_its_chunks_and_adds_global_keys() -> None:
    torch.manual_seed(0)
    config = PegasusXConfig(
        vocab_size=99,
        d_model=32,
        encoder_layers=2,
        decoder_layers=1,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=40,
        decoder_ffn_dim=40,
        num_global_tokens=2,
        block_size=4,
        stagger_local_blocks=True,
    )
    *_, trace = sharpened(PegasusXForConditionalGeneration(config), 9, 7, targets=(3, 4))
    encoder = trace.of_stack(Stack.ENCODER)
    assert [str(call.mask.rule) for call in encoder] == ["(chunk(4) ∨ extra keys) ∧ padding"] * 2
    chunks = [call.mask.visible[0, 0, :, :9] for call in encoder]
    for query in range(9):
        for key in range(9):
            assert chunks[0][query, key] == (query // 4 == key // 4)
            assert chunks[1][query, key] == ((query + 2) // 4 == (key + 2) // 4)
    assert encoder[0].mask.visible[:, 0, :, 9:].all()
    for call in encoder:
        assert call.pattern is not None
        np.testing.assert_allclose(call.pattern[0].sum(-1), 1, atol=1e-5)


def reformer(kind: str) -> ReformerModel:
    torch.manual_seed(0)
    config = ReformerConfig(
        vocab_size=99,
        hidden_size=32,
        attention_head_size=8,
        num_attention_heads=4,
        feed_forward_size=40,
        attn_layers=[kind],
        axial_pos_embds=False,
        max_position_embeddings=64,
        local_attn_chunk_length=4,
        lsh_attn_chunk_length=4,
        num_buckets=4,
        is_decoder=False,
        pad_token_id=0,
    )
    return ReformerModel(config)


@pytest.mark.parametrize("kind", ["local", "lsh"])
def test_reformers_buckets_are_laid_out(kind: str) -> None:
    *_, trace = sharpened(reformer(kind), 16)
    call = trace.calls[0]
    assert call.pattern is not None
    assert call.pattern.shape == (1, 4, 16, 16)
    np.testing.assert_allclose(call.pattern.sum(-1), 1, atol=1e-4)
    assert trace.drift == pytest.approx(0, abs=1e-4), "hashing must draw the same random numbers in both runs"


def test_reformers_local_chunks_see_themselves_and_the_chunk_before() -> None:
    *_, trace = sharpened(reformer("local"), 16)
    visible = trace.calls[0].mask.visible[0, 0]
    for query in range(16):
        for key in range(16):
            chunks = {query // 4, (query // 4 - 1) % 4}
            assert visible[query, key] == (key // 4 in chunks)


def test_canines_chunks_are_laid_out_and_its_pooled_tokens_keep_their_own_axes() -> None:
    torch.manual_seed(0)
    model = CanineModel(CanineConfig(**_SIZES, local_transformer_stride=8), add_pooling_layer=False)
    *_, trace = sharpened(model, 12, 16)
    assert [call.mask.visible.shape[2:] for call in trace.calls] == [(16, 16), (4, 4), (4, 4), (16, 16)]
    for call in trace.calls:
        assert call.pattern is not None
        np.testing.assert_allclose(call.pattern.sum(-1)[trace.real_queries(call)[:, None].repeat(4, 1)], 1, atol=1e-5)


def test_funnels_pooled_queries_keep_their_own_axes() -> None:
    torch.manual_seed(0)
    config = FunnelConfig(
        vocab_size=99, d_model=32, n_head=4, d_head=8, d_inner=40, block_sizes=[1, 2], num_decoder_layers=1
    )
    model = FunnelBaseModel(config)
    _, encoded, trace = sharpened(model, 12)
    with torch.no_grad():
        own: Any = model(**encoded.inputs, output_attentions=True).attentions
    assert [call.mask.visible.shape[2:] for call in trace.calls] == [tuple(one.shape[2:]) for one in own]
    for index, expected in enumerate(own):
        same_on_real_rows(trace, index, expected.numpy())


def test_bigbirds_blocks_attend_twice_to_the_block_their_random_ones_fall_on() -> None:
    """Out of training its random blocks are all block 0: a query's weight on it counts twice, so that rows sum to 1."""
    torch.manual_seed(0)
    config = BigBirdConfig(**_SIZES, block_size=2, num_random_blocks=1, attention_type="block_sparse")
    *_, trace = sharpened(BigBirdModel(config, add_pooling_layer=False), 24)
    call = trace.calls[0]
    assert call.pattern is not None
    np.testing.assert_allclose(call.pattern.sum(-1), 1, atol=1e-5)
    visible = call.mask.visible[0, 0]
    assert visible[:2].all()
    assert visible[10, :2].all()
    assert visible[10, 8:14].all()
    assert not visible[10, 2:8].any()
