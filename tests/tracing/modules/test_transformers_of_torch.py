"""nn.TransformerEncoder, nn.TransformerDecoder and nn.Transformer, beside their layers called one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from maskviz.core.rules.reasons import Reason
from maskviz.core.words import Stack
from tests.own_modules import NEAR, apart, patterns, ran, silenced, visible

WIDTH, HEADS, ROWS, LENGTH, TARGET = 16, 4, 2, 6, 5
PADDING = torch.tensor([[False] * LENGTH, [False] * 4 + [True] * 2])
CAUSAL = nn.Transformer.generate_square_subsequent_mask(LENGTH)

pytestmark = pytest.mark.filterwarnings(
    "ignore:The PyTorch API of nested tensors:UserWarning", "ignore:enable_nested_tensor is True:UserWarning"
)


def encoder(layers: int = 2, **options: Any) -> nn.TransformerEncoder:
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 32, **{"batch_first": True, "dropout": 0.1, **options})
    made = nn.TransformerEncoder(layer, layers, nn.LayerNorm(WIDTH)).eval()
    for one in made.parameters():  # the layers are copies: let them differ
        nn.init.normal_(one, std=0.3)
    return made


def tokens(length: int = LENGTH, seed: int = 0) -> torch.Tensor:
    return torch.randn(ROWS, length, WIDTH, generator=torch.Generator().manual_seed(seed))


def own_weights(attention: nn.MultiheadAttention, query: torch.Tensor, memory: torch.Tensor, **masks: Any) -> Any:
    with torch.no_grad():
        return attention(query, memory, memory, need_weights=True, average_attn_weights=False, **masks)[1]


def layer_by_layer(made: nn.TransformerEncoder, x: torch.Tensor, mask: Any, padding: Any) -> list[torch.Tensor]:
    """The weights of each layer, the layers called one by one; each as post-norm or pre-norm has it."""
    found = []
    for one in made.layers:
        assert isinstance(one, nn.TransformerEncoderLayer)
        asked = one.norm1(x) if one.norm_first else x
        found.append(own_weights(one.self_attn, asked, asked, attn_mask=mask, key_padding_mask=padding))
        with torch.no_grad():
            x = one(x, src_mask=mask, src_key_padding_mask=padding)
    return found


@pytest.mark.parametrize("norm_first", [False, True], ids=["post-norm", "pre-norm"])
@pytest.mark.parametrize("padding", [None, PADDING], ids=["", "padded"])
@pytest.mark.parametrize("mask", [None, CAUSAL, CAUSAL.isinf()], ids=["", "causal floats", "causal cells"])
def test_an_encoder_is_heard_as_its_layers_one_by_one(mask: Any, padding: Any, norm_first: bool) -> None:
    if mask is not None and mask.is_floating_point() and padding is not None:
        padding = torch.zeros(PADDING.shape).masked_fill(PADDING, -torch.inf)  # torch wants both of one kind
    made, x = encoder(norm_first=norm_first), tokens()
    run = ran(made, {"src": x, "mask": mask, "src_key_padding_mask": padding})
    expected = layer_by_layer(made, x, mask, padding)
    assert [call.module for call in run.trace.calls] == ["layers.0.self_attn", "layers.1.self_attn"]
    real = slice(None) if padding is None else slice(0, 4)  # what padding asks is nobody's: the layers may differ there
    for found, own in zip(patterns(run), expected, strict=True):
        assert apart(found[0], own[0]) < NEAR
        assert apart(found[1][:, real], own[1][:, real]) < NEAR
    reasons = run.trace.calls[0].mask.reasons
    if padding is not None:
        assert (reasons[1, 0, :4, 4:] == (Reason.PADDING if mask is None else Reason.PADDING | Reason.FUTURE)).all()
    if mask is not None:
        assert (reasons[0, 0, 0, 1:] == Reason.FUTURE).all()


def test_the_fast_path_is_off_while_listening_and_its_drift_is_said() -> None:
    made, x = encoder(), tokens()
    assert torch.backends.mha.get_fastpath_enabled()
    run = ran(made, {"src": x, "src_key_padding_mask": PADDING})
    assert torch.backends.mha.get_fastpath_enabled()
    assert len(run.trace.calls) == 2
    with torch.no_grad():
        plain = made(x, src_key_padding_mask=PADDING)
    real = ~PADDING
    assert run.trace.drift is not None and run.output is not None
    assert run.trace.drift == pytest.approx(apart(run.output[real], plain[real]), abs=1e-7)
    assert run.trace.drift < 1e-5


def test_an_encoder_of_nested_tensors_has_the_rows_and_padding_it_was_given() -> None:
    made, x = encoder(), tokens()
    assert made.enable_nested_tensor
    run = ran(made, {"src": x, "src_key_padding_mask": PADDING})
    assert run.trace.batch.keep.tolist() == (~PADDING).tolist()
    expected = layer_by_layer(made, x, None, PADDING)
    for found, own in zip(patterns(run), expected, strict=True):
        assert apart(found[1][:, :4], own[1][:, :4]) < NEAR
        assert not found[1][:, :4, 4:].any()


def test_a_layer_alone_and_tokens_first() -> None:
    for first in (True, False):
        made = encoder(1, batch_first=first).layers[0]
        x = tokens()
        run = ran(made, {"src": x if first else x.transpose(0, 1), "src_key_padding_mask": PADDING})
        same = encoder(1).layers[0]
        assert isinstance(same, nn.TransformerEncoderLayer)
        assert apart(patterns(run)[0], own_weights(same.self_attn, x, x, key_padding_mask=PADDING)) < NEAR


def test_a_decoder_has_own_and_cross_attention_over_its_memory() -> None:
    torch.manual_seed(0)
    made = nn.TransformerDecoder(nn.TransformerDecoderLayer(WIDTH, HEADS, 32, batch_first=True), 2).eval()
    x, memory = tokens(TARGET), tokens(LENGTH, 1)
    causal = CAUSAL[:TARGET, :TARGET].isinf()
    run = ran(
        made,
        {"tgt": x, "memory": memory, "tgt_mask": causal, "memory_key_padding_mask": PADDING, "tgt_is_causal": True},
    )
    assert [call.stack for call in run.trace.calls] == [Stack.DECODER, Stack.CROSS] * 2
    for number, layer in enumerate(made.layers):
        assert isinstance(layer, nn.TransformerDecoderLayer)
        own = own_weights(layer.self_attn, x, x, attn_mask=causal)
        assert apart(patterns(run)[2 * number], own) < NEAR
        with torch.no_grad():
            asked = layer.norm1(x + layer.self_attn(x, x, x, attn_mask=causal, need_weights=False)[0])
        cross = own_weights(layer.multihead_attn, asked, memory, key_padding_mask=PADDING)
        assert apart(patterns(run)[2 * number + 1], cross) < NEAR
        with torch.no_grad():
            x = layer(x, memory, tgt_mask=causal, memory_key_padding_mask=PADDING)
    assert not visible(run, 1)[1, :, :, 4:].any()


def test_a_whole_transformer_has_three_stacks_each_as_its_own_layers() -> None:
    torch.manual_seed(0)
    made = nn.Transformer(WIDTH, HEADS, 2, 2, 32, batch_first=True).eval()
    source, target = tokens(), tokens(TARGET, 1)
    causal = CAUSAL[:TARGET, :TARGET].isinf()
    masks = {"src_key_padding_mask": PADDING, "memory_key_padding_mask": PADDING, "tgt_mask": causal}
    run = ran(made, {"src": source, "tgt": target, **masks})
    assert [call.stack for call in run.trace.calls] == [Stack.ENCODER] * 2 + [Stack.DECODER, Stack.CROSS] * 2
    assert run.trace.card.layers == (2, 2)
    expected = layer_by_layer(made.encoder, source, None, PADDING)
    for found, own in zip(patterns(run)[:2], expected, strict=True):
        assert apart(found[0], own[0]) < NEAR
        assert apart(found[1][:, :4], own[1][:, :4]) < NEAR
    layer = made.decoder.layers[0]
    assert isinstance(layer, nn.TransformerDecoderLayer)
    assert apart(patterns(run)[2], own_weights(layer.self_attn, target, target, attn_mask=causal)) < NEAR
    assert run.trace.drift is not None and run.trace.drift < 1e-5


@pytest.mark.parametrize("layer", [0, 1])
def test_a_silenced_head_of_a_layer_is_one_whose_columns_of_the_projection_are_zero(layer: int) -> None:
    made, x = encoder(), tokens()
    run = ran(made, {"src": x, "src_key_padding_mask": PADDING})
    found = silenced(run, layer, 2)
    other = encoder()
    part = other.layers[layer]
    assert isinstance(part, nn.TransformerEncoderLayer)
    with torch.no_grad():
        part.self_attn.out_proj.weight[:, 8:12] = 0
        expected = other(x, src_key_padding_mask=PADDING)
    real = ~PADDING
    assert apart(found[real], expected[real]) < 1e-5
    assert run.output is not None and apart(found[real], run.output[real]) > 1e-3
