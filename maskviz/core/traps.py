"""The known traps of attention masks. Groups: P padding and positions, T polarity, type and shape, N numbers, L layer
patterns, K packing, H heads. An id is never given to another trap."""

from __future__ import annotations

from collections.abc import Iterator

from maskviz.core.findings import Trap
from maskviz.core.words import Severity

_HF = "huggingface/transformers"
_PT = "pytorch/pytorch"


def _traps(severity: Severity, *entries: tuple[str, str, str, str, str]) -> Iterator[Trap]:
    for identity, name, sentence, fix, source in entries:
        yield Trap(identity, name, severity, sentence, fix, source)


_ERRORS = _traps(
    Severity.ERROR,
    (
        "P3",
        "decoder-right-pad-generate",
        "A decoder generates from the last column, which is padding in rows padded on the right.",
        "Pad on the left to generate; for a single forward pass say --for forward.",
        f"{_HF}#19067",
    ),
    (
        "P4",
        "left-pad-no-position-ids",
        "Padding on the left shifts the positions of the real tokens where none are passed.",
        "Pass position_ids = (attention_mask.cumsum(-1) - 1).clamp(min=0), as generate() does (--position-ids cumsum).",
        f"{_HF}#18478, {_HF}#3021, {_HF}#7552",
    ),
    (
        "P6",
        "all-padded-row",
        "A row of the batch has no real token: its queries have nothing to attend to.",
        "Drop the row before the model sees it.",
        f"{_PT}#27968",
    ),
    (
        "T1",
        "inverted-bool",
        "The mask shows what it should block: True means attend in one framework and ignore in another.",
        "Invert it (~mask): scaled_dot_product_attention and Keras attend where True, nn.MultiheadAttention ignores.",
        f"{_HF}#38094, rasbt/LLMs-from-scratch#1061",
    ),
    (
        "T2",
        "ones-as-additive",
        "A float mask of zeros and ones is added to the scores: it blocks nothing.",
        "Make it boolean, or additive: 0 where visible, the type's minimum where blocked.",
        f"{_HF}#46458",
    ),
    (
        "T3",
        "bool-4d-in-eager",
        "Eager attention adds a boolean 4-D mask to the scores instead of obeying it.",
        "Give eager attention a float mask, 0 and the type's minimum, or run sdpa.",
        f"{_HF}#46507",
    ),
    (
        "T4",
        "integer-4d",
        "An integer 4-D mask is added to the scores by eager attention, and refused by sdpa.",
        "Save it as bool (True = may attend) or as an additive float.",
        "measured with torch 2.13 and transformers 5.23",
    ),
    (
        "T5",
        "mha-3d-repeat",
        "A mask of [batch·heads, query, key] is in head order; nn.MultiheadAttention reads it row by row of the batch.",
        "mask.repeat_interleave(heads, dim=0) instead of mask.repeat(heads, 1, 1).",
        f"{_PT}#64706, line/lighthouse#77",
    ),
    (
        "T6",
        "broadcast-accident",
        "The batch is as large as the number of heads, so that a mask without a head axis fits on the wrong one.",
        "Give the mask its head axis: mask[:, None].",
        "keras-team/keras-hub#783",
    ),
    (
        "T12",
        "cu-seqlens-offsets",
        "Offsets of packed texts do not start at 0, rise, and end at the number of tokens: texts are cut or joined.",
        "torch.nn.functional.pad(lengths.cumsum(0, dtype=torch.int32), (1, 0)), lengths being those of all texts.",
        "Dao-AILab/flash-attention, flash_attn_varlen_func",
    ),
    (
        "T9",
        "wrong-query-offset",
        "Fewer queries than keys, and the causal triangle starts at the first key instead of ending at the last.",
        "Shift it by the cached tokens: key <= query + keys - queries.",
        f"{_PT}#108108, {_PT}#103082, onnx/onnx#8068",
    ),
    (
        "T10",
        "shape-of-4d",
        "The last two axes of the mask are not the queries and keys of the call.",
        "Make it [batch, 1, query, key] with all cached tokens among the keys.",
        f"{_HF}#29930, {_HF}#35290, {_HF}#32195",
    ),
    (
        "N1",
        "fully-masked-row",
        "A query that may attend to nothing gets NaN, zeros or an even spread over everything, by implementation.",
        "Let such a query see itself, or drop it.",
        f"{_PT}#41508, {_PT}#103749, {_PT}#133882",
    ),
    (
        "N2",
        "weights-change-result",
        "Asking for the attention weights changes what comes out.",
        "Compare outputs with and without weights, and rely on the ones without.",
        f"{_PT}#160064, {_PT}#152028",
    ),
    (
        "N3",
        "minimum-summed-twice",
        "The type's minimum was added to itself: -inf where a number was meant, and NaN in a row of nothing else.",
        "Join boolean masks first and turn them into numbers once.",
        f"{_HF}#17306, {_HF}#26421",
    ),
    (
        "N5",
        "no-weights-under-sdpa",
        "Attention weights are asked for and the implementation gives none.",
        "Load with attn_implementation='eager', or look with maskviz.",
        "measured with transformers 5.23",
    ),
    (
        "L1",
        "causal-leak",
        "A model that predicts the next token sees it.",
        "Check is_decoder and the attention implementation; transformers 5.9.0 had four such classes.",
        f"{_HF}#48745, {_HF}#48760",
    ),
    (
        "L2",
        "window-off-by-one",
        "The sliding window shows one key too many or too few.",
        "A window of w in transformers is w keys with the query's own; flash attention's is w - 1 to the left.",
        f"{_HF}#39408, {_HF}#40163, {_HF}#26792",
    ),
    (
        "L4",
        "window-on-wrong-layers",
        "The layers that have a sliding window are not those the config names.",
        "Look at use_sliding_window, max_window_layers and layer_types; maskviz info shows the rule of every layer.",
        f"{_HF}#35896, {_HF}#38002, {_HF}#40126",
    ),
    (
        "L5",
        "chunks-with-left-padding",
        "Chunks of attention are counted from the first padding token instead of the first real one.",
        "Pad on the right, or use a release in which chunks start at the first real token.",
        f"{_HF}#40214, {_HF}#37351",
    ),
    (
        "L6",
        "image-span",
        "The tokens of an image do not see each other, or see a later image.",
        "Pass the processor's token_type_ids, and look at the spans with maskviz show --image.",
        f"{_HF}#38053, {_HF}#39389, {_HF}#40917",
    ),
    (
        "L7",
        "backend-drops-pattern",
        "The attention backend cannot express the model's mask: it shows what is blocked, or blocks what is shown.",
        "Run sdpa or eager; maskviz show --attn says what each backend is handed.",
        f"{_HF}#39707",
    ),
    (
        "L8",
        "attention-without-mask-function",
        "An attention function was registered without a mask function of its name: it gets no mask at all.",
        "Register both: AttentionInterface.register(name, ...) and AttentionMaskInterface.register(name, ...).",
        f"{_HF}#45811",
    ),
    (
        "K1",
        "packed-not-separated",
        "Texts packed into one row see each other.",
        "Restart position_ids with each text, pass no attention_mask, and use_cache=False.",
        f"{_HF}#46634, huggingface/trl#3673",
    ),
    (
        "H1",
        "ablated-after-projection",
        "Zeroing a slice of the output projection's result silences no head: it mixes all of them.",
        "Zero the slice of the projection's input (forward_pre_hook on o_proj or c_proj).",
        "ndif-team/nnsight#525",
    ),
)
_WARNINGS = _traps(
    Severity.WARNING,
    (
        "P1",
        "pad-no-mask",
        "There is padding and no attention mask: forward() does not infer one from the ids.",
        "Pass the tokenizer's attention_mask.",
        f"{_HF}#16136, {_HF}#17444",
    ),
    (
        "P2",
        "pad-is-eos",
        "The padding token is the end-of-text token, so neither can be told from the other by its id.",
        "Pass the attention mask; for training give padding an id of its own.",
        f"{_HF}#23530, {_HF}#41400",
    ),
    (
        "P7",
        "mask-length",
        "The attention mask is not as long as its row, or has zeros between ones.",
        "Make one mask entry per token, cached ones included, and put padding at one end.",
        "transformers, masking_utils",
    ),
    (
        "P8",
        "special-tokens-off-by-one",
        "A mask or labels were made without the special tokens the ids have.",
        "Make them from the encoded ids, after special tokens were added.",
        "transformers, AttentionMaskVisualizer",
    ),
    (
        "P9",
        "flash-right-pad",
        "Flash attention with right padding and a cache: releases 4 raise, and generation continues from padding.",
        "Pad on the left to generate, or pass use_cache=False.",
        "huggingface/trl#1018, huggingface/open-r1#599",
    ),
    (
        "T8",
        "keras-conventions",
        "Keras wants [batch, query, key] with 1 = attend, and joins it with masks its layers carry.",
        "keep[:, None, :] for a padding mask; no fourth axis, no additive floats.",
        "tensorflow/tensorflow#45854, tensorflow/tensorflow#49237, keras-team/keras#20488",
    ),
    (
        "N4",
        "mask-constant",
        "The number that blocks is too weak to hold large scores back, or too large for the type it is used in.",
        "torch.finfo(dtype).min of the type the scores have.",
        f"{_HF}#18185, facebookresearch/fairseq#3575",
    ),
    (
        "L3",
        "4d-mask-replaces-rules",
        "A 4-D mask is used as it is in every layer: windows and chunks of the model's own are gone.",
        "Give [batch, token], or one mask that has the rules of the layer in it.",
        f"{_HF}#30833",
    ),
    (
        "L9",
        "cross-attention-unmasked",
        "Decoder tokens attend to padding of the encoder, or of the decoder itself.",
        "Pass attention_mask with encoder_outputs too, and decoder_attention_mask: it is not derived from the ids.",
        f"{_HF}#23179, {_HF}#25271, {_HF}#47946",
    ),
    (
        "L10",
        "recurrence-sees-padding",
        "Layers without an attention matrix (state space, linear attention) carry padding on into real tokens.",
        "Pad on the right, or run texts of one length together.",
        f"{_HF}#47087, {_HF}#41790",
    ),
    (
        "L11",
        "mask-skipped",
        "The backend is handed no mask, and what it takes instead is not what is meant.",
        "Pass a mask that names the padding; maskviz show --attn sdpa draws what None stands for.",
        "transformers, masking_utils",
    ),
    (
        "L12",
        "misnamed-mask-function",
        "A mask was made by a function of transformers' name that lets other cells through than that name says.",
        "See who replaced the function; a mask of one's own belongs under a name of its own.",
        "transformers, masking_utils",
    ),
    (
        "K2",
        "packed-positions-run-on",
        "Packed texts are kept apart and their positions run on: each text but the first starts in the middle.",
        "Restart position_ids with each text.",
        "pytorch/torchtune#875",
    ),
    (
        "H3",
        "grouped-head-index",
        "Query heads were assigned to key heads in turn (h % key heads) instead of in groups (h // group).",
        "repeat_interleave the key heads, not tile or repeat them.",
        "TransformerLensOrg/TransformerLens#520",
    ),
)
_NOTES = _traps(
    Severity.NOTE,
    (
        "P5",
        "pad-query-rows",
        "Rows of padding queries have no meaning, and differ from one attention implementation to the next.",
        "Leave them out of losses, means and entropies: label -100, or keep[:, :, None].",
        f"{_HF}#26572",
    ),
    (
        "T7",
        "averaged-weights",
        "nn.MultiheadAttention returns the mean over heads unless average_attn_weights=False.",
        "attention(..., need_weights=True, average_attn_weights=False).",
        "PyTorch, MultiheadAttention",
    ),
    (
        "N6",
        "masked-garbage",
        "A number that is none (NaN, infinity) stands in a mask, or behind one: a weight of zero times NaN is NaN.",
        "Put numbers into masks, and zeros where padding is: a mask does not stop NaN.",
        f"{_PT}#101967",
    ),
    (
        "K3",
        "flash-packing",
        "Whether flash attention separates packed texts depends on the release and on what is passed with them.",
        "Pass cu_seqlens or restarting position_ids, and check the run.",
        "huggingface/trl#3526, huggingface/transformers#42801",
    ),
    (
        "H2",
        "blank-map",
        "The attention map of an ablated head is blank: the gate was put on the weights that are also returned.",
        "Look at the map before the gate, as maskviz show --head-mask draws it.",
        f"{_HF}#9569",
    ),
)


def _number(trap: Trap) -> tuple[int, int]:
    return "PTNLKH".index(trap.id[0]), int(trap.id[1:])


TRAPS: dict[str, Trap] = {trap.id: trap for trap in sorted((*_ERRORS, *_WARNINGS, *_NOTES), key=_number)}

# Traps of method, which nothing that is handed to a check can show.
NOT_CHECKED = {
    "H4": "self-repair: later heads make up for a silenced one; prune and show --head-mask silence several at once",
    "H5": "redundant is not unimportant: prune draws random orders beside every ranking",
}
