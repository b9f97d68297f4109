"""What each dialect of masks means: one mask, as the attention of each framework takes it."""

from __future__ import annotations

from dataclasses import dataclass

from maskviz.core.words import Dialect

# At or below this an additive mask blocks: code blocks with the type's minimum, -1e30, -1e9 or TensorFlow's old -1e4.
BLOCKED = -9e3

_FLOATS = ("float32", "float16", "bfloat16", "float64")


@dataclass(frozen=True, slots=True)
class Convention:
    """A dialect in words.

    Attributes:
        dialect: Its name.
        taken_by: The argument, function or class that takes such a mask.
        axes: Its shape in words.
        types: The types it is written in, the usual one first.
        meaning: What a number in it says.
    """

    dialect: Dialect
    taken_by: str
    axes: str
    types: tuple[str, ...]
    meaning: str


_CONVENTIONS = (
    Convention(
        Dialect.HF_2D,
        "transformers: attention_mask",
        "[batch, key]",
        ("int64", "int32", "bool", "float32"),
        "1 = keep, 0 = padding",
    ),
    Convention(
        Dialect.HF_4D,
        "transformers: attention_mask, eager attention",
        "[batch or 1, head or 1, query, key]",
        _FLOATS,
        "added to the scores: 0 = attend, the type's minimum = blocked",
    ),
    Convention(
        Dialect.SDPA,
        "torch: scaled_dot_product_attention attn_mask; transformers: attention_mask, sdpa",
        "[batch or 1, head or 1, query, key]",
        ("bool",),
        "True = attend",
    ),
    Convention(
        Dialect.TORCH_MHA,
        "torch: nn.MultiheadAttention attn_mask",
        "[query, key] or [batch·heads, query, key], the heads of a row together",
        ("bool",),
        "True = blocked",
    ),
    Convention(
        Dialect.TORCH_MHA_FLOAT,
        "torch: nn.MultiheadAttention attn_mask",
        "[query, key] or [batch·heads, query, key], the heads of a row together",
        _FLOATS,
        "added to the scores: 0 = attend, -inf = blocked",
    ),
    Convention(
        Dialect.TORCH_PADDING,
        "torch: nn.MultiheadAttention key_padding_mask",
        "[batch, key]",
        ("bool",),
        "True = blocked",
    ),
    Convention(
        Dialect.KERAS,
        "keras: MultiHeadAttention attention_mask",
        "[batch, query, key]",
        ("bool", "int32", "int64", "float32"),
        "1 = attend",
    ),
    Convention(
        Dialect.FLEX,
        "torch: flex_attention, mask_mod and BlockMask",
        "mask_mod(batch, head, query, key); in a file its cells [batch or 1, head or 1, query, key]",
        ("bool",),
        "True = attend",
    ),
    Convention(
        Dialect.FLAX,
        "flax: mask of dot_product_attention, as make_causal_mask makes it",
        "[batch or 1, head or 1, query, key]",
        ("float32", "bool", "int32"),
        "1 = attend",
    ),
    Convention(
        Dialect.SEQUENCE_NUMBERS,
        "packed batches: attention_mask of LLaMA-Factory's neat packing",
        "[batch, token]",
        ("int64", "int32"),
        "the text a token is of, from 1, 0 = padding; causal is the model's matter",
    ),
    Convention(
        Dialect.CU_SEQLENS,
        "flash-attn: cu_seqlens_q and cu_seqlens_k of flash_attn_varlen_func",
        "[texts + 1], from 0 to the number of tokens",
        ("int32", "int64"),
        "where a text begins and the one before it ends; causal is the kernel's argument",
    ),
    Convention(
        Dialect.HEAD_MASK,
        "transformers before 5: head_mask; maskviz: --head-mask @FILE",
        "[head] or [layer, head]",
        ("float32",),
        "1 = keep the head, 0 = silence it",
    ),
    Convention(
        Dialect.WEIGHTS,
        "what attention gives back; no mask, only for check",
        "[batch, head, query, key] or [batch, query, key], the mean over heads",
        (),
        "share in [0, 1] of a query's attention",
    ),
)

CONVENTIONS = {convention.dialect: convention for convention in _CONVENTIONS}
