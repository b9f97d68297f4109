"""Every dialect handed to the attention of its own framework gives what the mask means."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.attention.flex_attention import flex_attention

from maskviz.conventions.conversion import write
from maskviz.core.arrays import AnyArray, BoolArray
from maskviz.core.checks.case import Sizes
from maskviz.core.words import Dialect
from tests.conventions import masks
from tests.conventions.flex_masks import block_mask, cells_of, mask_mod
from tests.conventions.masks import BATCH, HEADS, KEYS, QUERIES, WIDTH, close, joined

SIZES = Sizes(BATCH, HEADS, QUERIES, KEYS)
OF_CELLS = [masks.CAUSAL, masks.WINDOW, masks.BOTH, masks.BY_HEAD, masks.PADDING]
NAMES = ["causal", "window", "causal and padding", "by head", "padding"]
WITHOUT_HEADS = [OF_CELLS[index] for index in (0, 1, 2, 4)]


def tensor(array: AnyArray) -> Tensor:
    return torch.from_numpy(np.array(array))


def module() -> torch.nn.MultiheadAttention:
    """nn.MultiheadAttention that projects nothing: queries, keys and values go to its heads as they are."""
    layer = torch.nn.MultiheadAttention(HEADS * WIDTH, HEADS, batch_first=True).eval()
    one = torch.eye(HEADS * WIDTH)
    with torch.no_grad():
        layer.in_proj_weight.copy_(one.repeat(3, 1))
        layer.out_proj.weight.copy_(one)
        layer.in_proj_bias.zero_()
        layer.out_proj.bias.zero_()
    return layer


def through_module(**mask: Tensor) -> Tensor:
    given = masks.inputs()
    with torch.no_grad():
        output, _ = module()(joined(given.query), joined(given.key), joined(given.value), **mask)
        plain, _ = module()(joined(given.query), joined(given.key), joined(given.value), **mask, need_weights=False)
    close(plain, output)
    assert isinstance(output, Tensor)
    return output


def expected(visible: BoolArray) -> Tensor:
    return masks.reference(masks.inputs(), visible)


@pytest.mark.parametrize("visible", OF_CELLS, ids=NAMES)
def test_sdpa_takes_its_booleans(visible: BoolArray) -> None:
    given = masks.inputs()
    mask = tensor(write(visible, Dialect.SDPA, SIZES))
    assert mask.dtype is torch.bool
    result = torch.nn.functional.scaled_dot_product_attention(given.query, given.key, given.value, attn_mask=mask)
    close(result, expected(visible))


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("visible", OF_CELLS, ids=NAMES)
def test_eager_attention_of_transformers_takes_the_additive_mask(visible: BoolArray, dtype: str) -> None:
    from transformers.models.bert.modeling_bert import eager_attention_forward

    given = masks.inputs()
    kind: torch.dtype = getattr(torch, dtype)
    mask = tensor(write(visible, Dialect.HF_4D, SIZES, dtype)).to(kind)
    assert float(mask.min()) == torch.finfo(kind).min, "the least number of its own type"
    layer = torch.nn.Module().eval()
    query, key, value = (part.to(kind) for part in (given.query, given.key, given.value))
    output, _ = eager_attention_forward(layer, query, key, value, mask, scaling=1 / math.sqrt(WIDTH), dropout=0.0)
    close(output.float().transpose(1, 2), expected(visible), 1e-5 if dtype == "float32" else 0.05)


@pytest.mark.parametrize("visible", OF_CELLS, ids=NAMES)
def test_multihead_attention_takes_booleans_and_numbers(visible: BoolArray) -> None:
    booleans = tensor(write(visible, Dialect.TORCH_MHA, SIZES))
    numbers = tensor(write(visible, Dialect.TORCH_MHA_FLOAT, SIZES))
    alike = visible.shape[:2] == (1, 1)
    assert booleans.shape == numbers.shape == ((QUERIES, KEYS) if alike else (BATCH * HEADS, QUERIES, KEYS))
    close(through_module(attn_mask=booleans), joined(expected(visible)))
    close(through_module(attn_mask=numbers), joined(expected(visible)))


def test_repeating_a_batch_for_its_heads_in_the_other_order_gives_something_else() -> None:
    by_row = tensor(write(masks.BOTH, Dialect.TORCH_MHA, SIZES))
    by_head = by_row.reshape(BATCH, HEADS, QUERIES, KEYS).transpose(0, 1).reshape(by_row.shape)
    assert (through_module(attn_mask=by_head) - joined(expected(masks.BOTH))).abs().max() > 0.1


def test_multihead_attention_takes_a_padding_mask() -> None:
    mask = tensor(write(masks.PADDING, Dialect.TORCH_PADDING, SIZES))
    close(through_module(key_padding_mask=mask), joined(expected(masks.PADDING)))


@pytest.mark.parametrize("visible", OF_CELLS, ids=NAMES)
@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_flex_attention_takes_blocks_and_a_mask_mod_says_its_cells_again(visible: BoolArray) -> None:
    given = masks.inputs()
    blocks = block_mask(visible, QUERIES)
    close(flex_attention(given.query, given.key, given.value, block_mask=blocks), expected(visible))
    whole = (BATCH, HEADS, QUERIES, KEYS)
    assert np.array_equal(cells_of(mask_mod(visible), whole), np.broadcast_to(visible, whole))


def test_a_models_own_mask_of_two_axes_is_the_four_axes_it_is_converted_to() -> None:
    """BERT given [batch, token] and given the converted [batch, 1, query, key] says the same of every real token."""
    from transformers import BertConfig, BertModel

    keep = np.array([[1] * 6, [1] * 4 + [0] * 2])
    visible = (keep == 1)[:, None, None, :]
    sizes = Sizes(queries=6)
    ids = torch.arange(12).reshape(2, 6)
    for implementation, dialect in (("eager", Dialect.HF_4D), ("sdpa", Dialect.SDPA)):
        torch.manual_seed(0)
        config: Any = BertConfig(
            vocab_size=20,
            hidden_size=24,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=16,
        )
        config._attn_implementation = implementation
        model = BertModel(config).eval()
        with torch.no_grad():
            own = model(ids, attention_mask=tensor(write(visible, Dialect.HF_2D, Sizes()))).last_hidden_state
            cells = model(ids, attention_mask=tensor(write(visible, dialect, sizes))).last_hidden_state
            without = model(ids).last_hidden_state
        real = torch.from_numpy(keep == 1)
        close(cells[real], own[real])
        assert (without[real] - own[real]).abs().max() > 1e-3, "the mask makes a difference"


_KERAS = """
import json, os, sys
os.environ["KERAS_BACKEND"] = "torch"
import numpy as np, keras
given = json.load(sys.stdin)
query, key, value = (np.array(given[name], "float32") for name in ("query", "key", "value"))
layer = keras.layers.MultiHeadAttention(given["heads"], query.shape[-1] // given["heads"], use_bias=False)
layer(query, value, key)
one = np.eye(query.shape[-1], dtype="float32")
layer.set_weights([one.reshape(weight.shape) for weight in layer.get_weights()])
for mask, dtype in given["masks"]:
    output = layer(query, value, key, attention_mask=np.array(mask, dtype))
    print(json.dumps(output.detach().cpu().numpy().tolist()))
"""


@pytest.mark.slow("starts a process that imports Keras")
def test_keras_takes_its_ones() -> None:
    """In a process of its own: what Keras imports would slow all others, and its backend is chosen once."""
    given = masks.inputs()
    asked = [(visible, dtype) for visible in WITHOUT_HEADS for dtype in ("bool", "int32", "float32")]
    parts: dict[str, Any] = {name: joined(getattr(given, name)).tolist() for name in ("query", "key", "value")}
    parts["heads"] = HEADS
    parts["masks"] = [(write(visible, Dialect.KERAS, SIZES, dtype).tolist(), dtype) for visible, dtype in asked]
    done = subprocess.run(
        [sys.executable, "-c", _KERAS], input=json.dumps(parts), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    results = done.stdout.splitlines()[-len(asked) :]
    for (visible, _), result in zip(asked, results, strict=True):
        close(json.loads(result), joined(expected(visible)))


def flax_attention(given: Any, mask: AnyArray) -> AnyArray:
    """flax.linen.dot_product_attention, as its documentation has it: where the mask is 0 a score becomes finfo.min."""
    scores = np.einsum("bhqd,bhkd->bhqk", given.query.numpy(), given.key.numpy()) / math.sqrt(WIDTH)
    scores = np.where(mask, scores, np.finfo(np.float32).min)
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True) @ given.value.numpy())


@pytest.mark.parametrize("visible", OF_CELLS, ids=NAMES)
def test_flax_attention_by_its_formula_takes_its_ones(visible: BoolArray) -> None:
    mask = write(visible, Dialect.FLAX, SIZES)
    assert mask.dtype == np.float32, "as make_causal_mask makes it"
    close(flax_attention(masks.inputs(), mask), expected(visible))


def test_flax_itself_takes_its_ones_and_its_causal_mask_is_ours() -> None:
    linen = pytest.importorskip("flax.linen", reason="flax is heavy and no part of the dev extra")
    given = masks.inputs()
    parts = [part.transpose(1, 2).numpy() for part in (given.query, given.key, given.value)]
    for visible in OF_CELLS:
        result = linen.dot_product_attention(*parts, mask=write(visible, Dialect.FLAX, SIZES))
        close(result, expected(visible).transpose(1, 2))
    triangle = np.tril(np.ones((1, 1, 6, 6), bool))
    ours = write(triangle, Dialect.FLAX, Sizes(batch=2))
    theirs = np.asarray(linen.make_causal_mask(np.ones((2, 6))))
    assert np.array_equal(ours, theirs) and ours.dtype == theirs.dtype
