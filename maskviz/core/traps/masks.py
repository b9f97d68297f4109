"""Traps of masks: T polarity, type and shape, N numbers."""

from __future__ import annotations

from maskviz.core.findings import Trap
from maskviz.core.words import Severity

_HF = "huggingface/transformers"
_PT = "pytorch/pytorch"

TRAPS = (
    Trap(
        "T1",
        "inverted-bool",
        Severity.ERROR,
        "The mask shows what it should block: True means attend in one framework and ignore in another.",
        "Invert it (~mask): scaled_dot_product_attention and Keras attend where True, nn.MultiheadAttention ignores.",
        f"{_HF}#38094, rasbt/LLMs-from-scratch#1061",
    ),
    Trap(
        "T2",
        "ones-as-additive",
        Severity.ERROR,
        "A float mask of zeros and ones is added to the scores: it blocks nothing.",
        "Make it boolean, or additive: 0 where visible, the type's minimum where blocked.",
        f"{_HF}#46458",
    ),
    Trap(
        "T3",
        "bool-4d-in-eager",
        Severity.ERROR,
        "Eager attention adds a boolean 4-D mask to the scores instead of obeying it.",
        "Give eager attention a float mask, 0 and the type's minimum, or run sdpa.",
        f"{_HF}#46507",
    ),
    Trap(
        "T4",
        "integer-4d",
        Severity.ERROR,
        "An integer 4-D mask is added to the scores by eager attention, and refused by sdpa.",
        "Save it as bool (True = may attend) or as an additive float.",
        "measured with torch 2.13 and transformers 5.23",
    ),
    Trap(
        "T5",
        "mha-3d-repeat",
        Severity.ERROR,
        "A mask of [batch·heads, query, key] is in head order; nn.MultiheadAttention reads it row by row of the batch.",
        "mask.repeat_interleave(heads, dim=0) instead of mask.repeat(heads, 1, 1).",
        f"{_PT}#64706, line/lighthouse#77",
    ),
    Trap(
        "T6",
        "broadcast-accident",
        Severity.ERROR,
        "The batch is as large as the number of heads, so that a mask without a head axis fits on the wrong one.",
        "Give the mask its head axis: mask[:, None].",
        "keras-team/keras-hub#783",
    ),
    Trap(
        "T7",
        "averaged-weights",
        Severity.NOTE,
        "nn.MultiheadAttention returns the mean over heads unless average_attn_weights=False.",
        "attention(..., need_weights=True, average_attn_weights=False).",
        "PyTorch, MultiheadAttention",
    ),
    Trap(
        "T8",
        "keras-conventions",
        Severity.WARNING,
        "Keras wants [batch, query, key] with 1 = attend, and joins it with masks its layers carry.",
        "keep[:, None, :] for a padding mask; no fourth axis, no additive floats.",
        "tensorflow/tensorflow#45854, tensorflow/tensorflow#49237, keras-team/keras#20488",
    ),
    Trap(
        "T9",
        "wrong-query-offset",
        Severity.ERROR,
        "Fewer queries than keys, and the causal triangle starts at the first key instead of ending at the last.",
        "Shift it by the cached tokens: key <= query + keys - queries.",
        f"{_PT}#108108, {_PT}#103082, onnx/onnx#8068",
    ),
    Trap(
        "T10",
        "shape-of-4d",
        Severity.ERROR,
        "The last two axes of the mask are not the queries and keys of the call.",
        "Make it [batch, 1, query, key] with all cached tokens among the keys.",
        f"{_HF}#29930, {_HF}#35290, {_HF}#32195",
    ),
    Trap(
        "T11",
        "not-as-meant",
        Severity.ERROR,
        "The mask is not the one that was said to be meant.",
        "See which cells differ, and what made them.",
        "the rule that was given",
    ),
    Trap(
        "N1",
        "fully-masked-row",
        Severity.ERROR,
        "A query that may attend to nothing gets NaN, zeros or an even spread over everything, by implementation.",
        "Let such a query see itself, or drop it.",
        f"{_PT}#41508, {_PT}#103749, {_PT}#133882",
    ),
    Trap(
        "N2",
        "weights-change-result",
        Severity.ERROR,
        "Asking for the attention weights changes what comes out.",
        "Compare outputs with and without weights, and rely on the ones without.",
        f"{_PT}#160064, {_PT}#152028",
    ),
    Trap(
        "N3",
        "minimum-summed-twice",
        Severity.ERROR,
        "The type's minimum was added to itself: -inf where a number was meant, and NaN in a row of nothing else.",
        "Join boolean masks first and turn them into numbers once.",
        f"{_HF}#17306, {_HF}#26421",
    ),
    Trap(
        "N4",
        "mask-constant",
        Severity.WARNING,
        "The number that blocks is too weak to hold large scores back, or too large for the type it is used in.",
        "torch.finfo(dtype).min of the type the scores have.",
        f"{_HF}#18185, facebookresearch/fairseq#3575",
    ),
    Trap(
        "N5",
        "no-weights-under-sdpa",
        Severity.ERROR,
        "Attention weights are asked for and the implementation gives none.",
        "Load with attn_implementation='eager', or look with maskviz.",
        "measured with transformers 5.23",
    ),
    Trap(
        "N6",
        "masked-garbage",
        Severity.NOTE,
        "A number that is none (NaN, infinity) stands in a mask, or behind one: a weight of zero times NaN is NaN.",
        "Put numbers into masks, and zeros where padding is: a mask does not stop NaN.",
        f"{_PT}#101967",
    ),
)
