"""Layers and models of Keras to listen to, each with what is true of it. Imports Keras: a test asks for it late.

Which backend computes is up to KERAS_BACKEND; torch where it says nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maskviz.core.arrays import BoolArray, FloatArray

os.environ.setdefault("KERAS_BACKEND", "torch")
import keras as _keras  # type: ignore[import-untyped]

keras: Any = _keras
BATCH, QUERIES, KEYS, WIDTH, HEADS, VOCABULARY = 2, 5, 7, 8, 4, 11


def numbers(*shape: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def cells(*shape: int, seed: int = 0) -> BoolArray:
    """Random cells with a visible one in each row."""
    found = np.random.default_rng(seed).random(shape) < 0.6
    found[..., 0] = True
    return np.asarray(found)


X, OTHER, THIRD = (
    numbers(BATCH, QUERIES, WIDTH),
    numbers(BATCH, KEYS, WIDTH, seed=1),
    numbers(BATCH, KEYS, WIDTH, seed=2),
)
IMAGE = numbers(BATCH, 3, QUERIES, WIDTH)
SQUARE, OBLONG = cells(BATCH, QUERIES, QUERIES), cells(BATCH, QUERIES, KEYS)
BY_HEAD = cells(BATCH, HEADS, QUERIES, QUERIES)
KEPT = np.array([[True] * 5, [True] * 3 + [False] * 2])
KEPT_OTHER = np.array([[True] * 7, [True] * 4 + [False] * 3])
CAUSAL = np.array([[key <= query for key in range(QUERIES)] for query in range(QUERIES)])


@dataclass(frozen=True)
class Case:
    """A layer, how it is called, and what is true of it.

    Attributes:
        layer: Makes it.
        arguments: What it is called with.
        visible: bool, broadcastable to [row, head, query, key].
        padding: bool [row, key], or None.
        given, cross: As in `HeardCall`.
        key_heads: Where they are fewer than heads.
    """

    layer: Callable[[], Any]
    arguments: dict[str, Any] = field(default_factory=lambda: {"query": X, "value": X})
    visible: Any = True
    padding: Any = None
    given: bool = False
    cross: bool = False
    key_heads: int | None = None


def multi_head(**options: Any) -> Callable[[], Any]:
    return lambda: keras.layers.MultiHeadAttention(HEADS, 3, **options)


def grouped(**options: Any) -> Callable[[], Any]:
    return lambda: keras.layers.GroupQueryAttention(3, HEADS, 2, **options)


def _of_self(**more: Any) -> dict[str, Any]:
    return {"query": X, "value": X, **more}


_CAUSAL = _of_self(use_causal_mask=True)
_MASKED = _of_self(attention_mask=SQUARE)
_BOTH = _of_self(attention_mask=SQUARE, use_causal_mask=True)
_CROSS = {"query": X, "value": OTHER, "attention_mask": OBLONG}
_NEAR = np.array([[abs(query - key) < 2 for key in range(QUERIES)] for query in range(QUERIES)])

_PADDED = _of_self(value_mask=KEPT, use_causal_mask=True)


def _of_heads(make: Callable[..., Callable[[], Any]], key_heads: int | None) -> dict[str, Case]:
    """What MultiHeadAttention and GroupQueryAttention have in common."""
    many = {
        "plain": Case(make()),
        "causal": Case(make(), _CAUSAL, CAUSAL, given=True),
        "mask": Case(make(), _MASKED, SQUARE[:, None], given=True),
        "mask of numbers": Case(make(), _of_self(attention_mask=SQUARE.astype("int32")), SQUARE[:, None], given=True),
        "mask of floats": Case(make(), _of_self(attention_mask=SQUARE.astype("float32")), SQUARE[:, None], given=True),
        "mask by head": Case(make(), _of_self(attention_mask=BY_HEAD), BY_HEAD, given=True),
        "mask and causal": Case(make(), _BOTH, SQUARE[:, None] & CAUSAL, given=True),
        "padding and causal": Case(make(), _PADDED, KEPT[:, None, None] & CAUSAL, KEPT, given=True),
        "window": Case(make(sliding_window=2), _of_self(), _NEAR, given=True),
        "window and causal": Case(make(sliding_window=2), _CAUSAL, _NEAR & CAUSAL, given=True),
        "cross": Case(make(), _CROSS, OBLONG[:, None], given=True, cross=True),
        "cross with keys of their own and padding": Case(
            make(),
            {"query": X, "value": OTHER, "key": THIRD, "value_mask": KEPT_OTHER, "key_mask": KEPT_OTHER[::-1]},
            (KEPT_OTHER & KEPT_OTHER[::-1])[:, None, None],
            KEPT_OTHER & KEPT_OTHER[::-1],
            cross=True,
        ),
        "equal and not the same": Case(make(), {"query": X, "value": X.copy()}),
        "gate of its own": Case(make(use_gate=True), _CAUSAL, CAUSAL, given=True),
        "dropout": Case(make(dropout=0.5), _CAUSAL, CAUSAL, given=True),
    }
    return {name: Case(**{**vars(case), "key_heads": key_heads}) for name, case in many.items()}


_IMAGES = {"query": IMAGE, "value": IMAGE}
_ROWS, _WHOLE = cells(BATCH, 3, QUERIES, QUERIES), cells(BATCH, 3, QUERIES, 3, QUERIES)


def _of_one(make: Callable[..., Any]) -> dict[str, Case]:
    """What Attention and AdditiveAttention have in common."""
    mask = {"mask": [None, KEPT]}
    return {
        "plain": Case(make, {"inputs": [X, X]}),
        "scaled": Case(lambda: make(use_scale=True), {"inputs": [X, X]}),
        "causal": Case(make, {"inputs": [X, X], "use_causal_mask": True}, CAUSAL, given=True),
        "padding": Case(make, {"inputs": [X, X], **mask}, KEPT[:, None, None], KEPT),
        "padding of queries, too": Case(
            make, {"inputs": [X, X], "mask": [KEPT[::-1], KEPT]}, KEPT[:, None, None], KEPT
        ),
        "padding and causal": Case(
            make, {"inputs": [X, X], "use_causal_mask": True, **mask}, KEPT[:, None, None] & CAUSAL, KEPT, given=True
        ),
        "cross": Case(make, {"inputs": [X, OTHER]}, cross=True),
        "keys of their own": Case(make, {"inputs": [X, OTHER, THIRD]}, cross=True),
        "keys that are the queries": Case(make, {"inputs": [X, X[::-1].copy(), X]}),
    }


CASES = {
    **{f"MultiHeadAttention: {name}": case for name, case in _of_heads(multi_head, None).items()},
    **{f"GroupQueryAttention: {name}": case for name, case in _of_heads(grouped, 2).items()},
    "MultiHeadAttention: values of another width": Case(multi_head(value_dim=5)),
    "MultiHeadAttention: another output": Case(multi_head(output_shape=6, use_bias=False)),
    "MultiHeadAttention: bfloat16": Case(multi_head(dtype="mixed_bfloat16"), _MASKED, SQUARE[:, None], given=True),
    "MultiHeadAttention: float16": Case(multi_head(dtype="mixed_float16"), _MASKED, SQUARE[:, None], given=True),
    "MultiHeadAttention: along the last axis of three": Case(
        multi_head(attention_axes=2),
        {**_IMAGES, "attention_mask": _ROWS},
        _ROWS.reshape(-1, 1, QUERIES, QUERIES),
        given=True,
    ),
    "MultiHeadAttention: along the first axis of three": Case(multi_head(attention_axes=1), _IMAGES),
    "MultiHeadAttention: along two axes": Case(multi_head(), _IMAGES),
    "MultiHeadAttention: along two axes with a mask": Case(
        multi_head(attention_axes=(1, 2)),
        {**_IMAGES, "attention_mask": _WHOLE},
        _WHOLE.reshape(BATCH, 1, 3 * QUERIES, 3 * QUERIES),
        given=True,
    ),
    **{f"Attention: {name}": case for name, case in _of_one(lambda **o: keras.layers.Attention(**o)).items()},
    **{
        f"AdditiveAttention: {name}": case
        for name, case in _of_one(lambda **o: keras.layers.AdditiveAttention(**o)).items()
    },
    "Attention: of concatenations": Case(
        lambda: keras.layers.Attention(score_mode="concat", use_scale=True), {"inputs": [X, X]}
    ),
}


class TransformerBlock(keras.layers.Layer):  # type: ignore[misc]
    """As keras.io's text classification with Transformer has it."""

    def __init__(self, embed_dim: int, num_heads: int, ff_dim: int, rate: float = 0.1, **options: Any) -> None:
        super().__init__(**options)
        self.att = keras.layers.MultiHeadAttention(num_heads=num_heads, key_dim=embed_dim)
        self.ffn = keras.Sequential([keras.layers.Dense(ff_dim, activation="relu"), keras.layers.Dense(embed_dim)])
        self.layernorm1 = keras.layers.LayerNormalization(epsilon=1e-6)
        self.layernorm2 = keras.layers.LayerNormalization(epsilon=1e-6)
        self.dropout1 = keras.layers.Dropout(rate)
        self.dropout2 = keras.layers.Dropout(rate)

    def call(self, inputs: Any) -> Any:
        attn_output = self.att(inputs, inputs)
        attn_output = self.dropout1(attn_output)
        out1 = self.layernorm1(inputs + attn_output)
        ffn_output = self.ffn(out1)
        ffn_output = self.dropout2(ffn_output)
        return self.layernorm2(out1 + ffn_output)


class TokenAndPositionEmbedding(keras.layers.Layer):  # type: ignore[misc]
    """As keras.io has it, with its padding said where `padded`."""

    def __init__(self, maxlen: int, embed_dim: int, padded: bool = False, **options: Any) -> None:
        super().__init__(**options)
        self.token_emb = keras.layers.Embedding(VOCABULARY, embed_dim, mask_zero=padded)
        self.pos_emb = keras.layers.Embedding(maxlen, embed_dim)

    def call(self, x: Any) -> Any:
        positions = keras.ops.arange(0, keras.ops.shape(x)[-1], 1)
        return self.token_emb(x) + self.pos_emb(positions)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        del mask
        return self.token_emb.compute_mask(inputs)


IDS = np.array([[5, 6, 7, 8, 9], [3, 4, 5, 0, 0]], dtype="int32")


def classifier(padded: bool = False) -> Any:
    """keras.io's classifier of two blocks."""
    inputs = keras.Input((QUERIES,), dtype="int32")
    hidden = TokenAndPositionEmbedding(QUERIES, WIDTH, padded, name="embedding")(inputs)
    for number in range(2):
        hidden = TransformerBlock(WIDTH, 2, 12, name=f"block_{number}")(hidden)
    hidden = keras.layers.GlobalAveragePooling1D()(hidden)
    return keras.Model(inputs, keras.layers.Dense(2, activation="softmax")(hidden))


def array(tensor: Any) -> FloatArray:
    return np.asarray(keras.ops.convert_to_numpy(tensor), np.float32)


def scores_of(layer: Any, arguments: dict[str, Any]) -> tuple[FloatArray, FloatArray]:
    """Output and scores of a layer, by the argument that Keras has for them."""
    output, scores = layer(**arguments, return_attention_scores=True, training=False)
    return array(output), array(scores)
