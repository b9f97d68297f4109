"""What each number of a config becomes in a tiny model, by the words in its name."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

VOCABULARY = 160
# Ids that rows may be made of; the special tokens of composite models come behind them.
WORDS = range(3, 99)
WIDTH, INNER, HEADS, HEAD, POSITIONS, LOCAL = 64, 128, 4, 16, 64, 4


@dataclass(slots=True)
class Scale:
    """What the rules must know of the config a number is in.

    Attributes:
        layers, layers_before: Layers kept, and of the full-size config.
        width, heads: Of the full-size config, 0 where it does not say.
        rotated: Channels of a head that are rotated in the tiny model.
        special: Id given to each special token so far, shared by all parts of a composite config.
    """

    layers: int
    layers_before: int = 0
    width: int = 0
    heads: int = 0
    special: dict[str, int] = field(default_factory=dict)

    def id_of(self, name: str) -> int:
        """The id of a special token: the usual ones first, every other one behind the words."""
        for ending, place in (("pad_token_id", 0), ("decoder_start_token_id", 0), ("bos_token_id", 1)):
            if name == ending:
                return place
        if name in ("eos_token_id", "forced_eos_token_id", "sep_token_id"):
            return 2
        return self.special.setdefault(name, WORDS.stop + 1 + len(self.special))


Shrink = Callable[[str, int, Scale], int]


def _to(value: int) -> Shrink:
    return lambda name, before, scale: value


def _at_most(limit: int) -> Shrink:
    return lambda name, before, scale: min(before, limit)


def _kept(name: str, before: int, scale: Scale) -> int:
    return before


def _layers(name: str, before: int, scale: Scale) -> int:
    return scale.layers


def _key_heads(name: str, before: int, scale: Scale) -> int:
    """One key head stays one, grouped heads stay grouped, as many as queries stay as many."""
    if before == 1:
        return 1
    return 2 if before < scale.heads else HEADS


def _width(name: str, before: int, scale: Scale) -> int:
    """Widths keep their ratio to the hidden size where it is 2, 3 or 4: some layers concatenate."""
    if before <= 16:
        return before
    ratio = before // scale.width if scale.width and before % scale.width == 0 else 1
    return WIDTH * ratio if ratio in (2, 3, 4) else WIDTH


def _head(name: str, before: int, scale: Scale) -> int:
    """A head that is twice as wide as hidden size over heads, as in Zamba, stays so."""
    doubled = scale.width and scale.heads and before * scale.heads == 2 * scale.width
    return 2 * HEAD if doubled else HEAD


def _period(name: str, before: int, scale: Scale) -> int:
    return min(before, 2)


# The first rule whose pattern is found in the name; numbers below 1 are switches and stay as they are.
RULES: tuple[tuple[str, Shrink], ...] = (
    (r"token_id$|token_index$|^(mask|unk)_index$|_patch_id$", lambda name, before, scale: scale.id_of(name)),
    (r"^(tag|subs)_pad_id$", _to(31)),
    (r"upsample_groups", _to(WIDTH)),
    (r"kernel|expansion|^(q|k|v|post_attention|intermediate|output)_groups$", _kept),
    (r"num_filters", _at_most(4)),
    (r"type_vocab|task_type|segment_types|prompt_types|ngram_vocab", _at_most(16)),
    (r"^vocab_size$", _to(VOCABULARY)),
    (r"codebook_size", _at_most(64)),
    (r"vocab|num_embeddings$", _at_most(VOCABULARY)),
    (r"max_(2d|xpath|rel)|buckets|_bins$|max_distance", _at_most(32)),
    (r"chunk_size_feed_forward|chunk_size_lm_head|pretraining_tp|num_labels|^seed$", _at_most(1 << 30)),
    (r"^(num_hidden_layers|n_layers?|num_layers|encoder_layers|decoder_layers|num_decoder_layers)$", _layers),
    (r"(encoder|decoder)_num_hidden_layers$|^num_encoder_layers$|^layers$", _layers),
    (r"kv_shared_layers$", lambda name, before, scale: scale.layers // 2),
    (r"first_k_dense|num_dense_layers|max_window_layers|moe_layer_start|dense_sliding", _at_most(1)),
    (r"moe_layer_end_index", lambda name, before, scale: scale.layers - 1),
    (r"_layers?$|depth$|depths$|num_blocks$|_blocks$|per_block$|nextn_predict|layers_per", _at_most(2)),
    (r"_period$|_interval$|every|_pattern$|sparse_step|layer_step|_frequency$|layer_group_size", _period),
    (r"_offset$", _at_most(1)),
    (r"n_groups?$|num_expert_group|ngroups|o_groups", _at_most(2)),
    (r"topk_group|shared_experts$|num_shared_expert", _at_most(1)),
    (r"per_tok|moe_topk|moe_k$|top_k|experts_per", _at_most(2)),
    (r"experts$|num_experts", _at_most(4)),
    (r"index_n_heads|index_heads|n_idx_heads", _at_most(4)),
    (r"linear_num_key_heads", _to(2)),
    (r"mamba_n_heads|mamba_num_heads", _to(8)),
    (r"n_mamba_heads", _at_most(8)),
    (r"key_value_heads$|kv_heads$|kv_n_heads|n_head_kv|num_query_groups", _key_heads),
    (r"heads$|n_head$|num_heads", _to(HEADS)),
    (r"rotary_dim$", _to(8)),
    (r"qk_head_dim", _to(2 * HEAD)),
    (r"head_?dim$|d_kv$|kv_channels|head_size$|d_head$|attention_head_dim|dim_head$", _head),
    (r"index_topk$", _at_most(LOCAL)),
    (r"topk_blocks", _at_most(2)),
    (r"lora_rank|_rank$|lowrank|dt_rank|state_size|d_state", _at_most(HEAD)),
    (r"d_ssm", _to(INNER)),
    (r"window|local_attention|attn_chunk|attention_chunk|attn_chunk_length|radius", _at_most(LOCAL)),
    (r"^chunk_size$|mamba_chunk|block_size|block_multiple|block_length|kpool", _at_most(LOCAL)),
    (r"num_random_blocks|num_global_tokens|landmarks|prompt_length|segment_means", _at_most(2)),
    (r"^max_position_embeddings$", _to(POSITIONS)),
    (r"position|max_seq|context_length|n_ctx|max_text|max_length|seq_len", _at_most(POSITIONS)),
    (r"intermediate|ffn|d_ff$|dff$|dim_ff$|n_inner|d_inner|mlp_dim|feed_forward_size|expert_dim|inner_dim", _to(INNER)),
    (r"image_size|img_size|resolution|crop_size", _at_most(64)),
    (r"patch_size|stride|channels$|num_mel|expand|ratio|factor|scale$", _at_most(64)),
    (r"size$|dim$|width$|d_model|n_embd|hidden|embed|latents?$|units$", _width),
)
_COMPILED = tuple((re.compile(pattern), shrink) for pattern, shrink in RULES)


def shrunk_number(name: str, before: int, scale: Scale) -> int:
    """What a number named `name` becomes; what no rule names keeps small values and loses large ones."""
    if before < 1 and "token_id" not in name:
        return before
    for pattern, shrink in _COMPILED:
        if pattern.search(name):
            return shrink(name, before, scale)
    return before if before <= 2 * WIDTH else WIDTH
