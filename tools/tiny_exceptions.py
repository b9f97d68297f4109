"""The types whose default config no rule can shrink: what is given instead, and why."""

from __future__ import annotations

from typing import Any

_IMAGES: dict[str, Any] = {
    "model_type": "clip_vision_model",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
}
_IMAGES |= {"num_attention_heads": 4, "image_size": 64, "patch_size": 32}

# By model type; a part's field as "part.field". A type that is a part of another is looked up there too.
EXCEPTIONS: dict[str, dict[str, Any]] = {
    # the product of the shape is the longest text, the sum of the widths the hidden size
    "reformer": {"axial_pos_shape": [8, 8], "axial_pos_embds_dim": [16, 48], "num_buckets": 4},
    # the default has no attention layer
    "bamba": {"attn_layer_indices": [1], "num_hidden_layers": 3},
    "granitemoehybrid": {"layer_types": ["linear_attention", "full_attention"]},
    # its default builds a window of no token, which no layer uses
    "qwen2_moe": {"layer_types": ["full_attention", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    # layer kinds are worked out from these
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "attention_layers": ["global", "local"]},
    "hrm_text": {"num_hidden_layers": 1, "num_layers_per_stack": None},
    "zamba": {"num_hidden_layers": 5, "layers_block_type": ["mamba", "mamba", "hybrid", "mamba", "hybrid"]},
    "step3p5": {"sliding_window": 4},
    # fields that the code reads and the default config lacks
    "dbrx": {"attn_config.rope_theta": 10000.0, "attn_config.clip_qkv": 8.0},
    "qwen2_5_omni_thinker": {"vision_start_token_id": 130},
    "qwen3_omni_moe_thinker": {"vision_start_token_id": 130},
    "Qwen3OmniMoeTalkerConfig": {"spatial_merge_size": 2},
    "blt": {"use_cache": False, "global_config.hidden_size": 128},
    "pix2struct_text_model": {"initializer_range": 0.02},
    "t5gemma2_text": {"dropout_rate": 0.0},
    "t5gemma2_decoder": {"dropout_rate": 0.0},
    "qwen3_omni_moe_talker_text": {"shared_expert_intermediate_size": 64},
    "cohere_compass_text": {
        "layer_types": ["full_attention", "sliding_attention"],
        "rope_parameters": {
            kind: {"rope_type": "default", "rope_theta": 10000.0} for kind in ("full_attention", "sliding_attention")
        },
    },
    "qwen4_exp_text": {
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 32,
        "indexer_budget": 8,
        "indexer_compress_ratio": 2,
    },
    "shieldgemma2": {"yes_token_index": 5, "no_token_index": 6},
    "chameleon": {"vocabulary_map": {"<image>": 101}},
    "emu3": {"vocabulary_map": {"<image>": 101}},
    "xmod": {"default_language": "en_XX"},
    "granite4_vision": {"deepstack_layer_map": [[0, 0]], "downsample_rate": "2/4"},
    # widths that must add up or divide in a way of their own
    "ernie4_5_vl_moe_text": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [3, 3, 2]}
    },
    "paddleocr_vl_text": {
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 6, 6]}
    },
    "dots3_note_text": {"head_dim": 32},
    "dots3_note": {"audio_config.adapter_out_dim": 64, "vision_config.adapter_out_dim": 64},
    "mamba2": {"num_heads": 8, "head_dim": 16},
    "xlstm": {"qk_dim_factor": 1.0},
    "fastspeech2_conformer_with_hifigan": {"vocoder_config.model_in_dim": 32},
    "lilt": {"hidden_size": 96},
    "layoutlmv3": {"coordinate_size": 12, "shape_size": 8},
    "clvp_encoder": {"num_attention_heads": 2},
    "fun_asr_nano": {"adaptor_config.intermediate_size": 16},
    "pocket_tts": {"flow_head_config.condition_dim": 64},
    "gradium_phonon_tts": {"flow_head_config.condition_dim": 64},
    "vibevoice_asr": {"acoustic_tokenizer_chunk_size": 3200},
    # the part that reads images needs a library of its own (timm)
    "fast_vlm": {"vision_config": _IMAGES},
    # several codebooks want several ids per place
    "musicgen_decoder": {"num_codebooks": 1},
    "dia": {"delay_pattern": [0]},
    "dia_decoder": {"num_channels": 1},
    "musicgen_melody_decoder": {"num_codebooks": 1},
    # short enough for its blocks to be sparse on the rows
    "big_bird": {"block_size": 2, "num_random_blocks": 1},
    "bigbird_pegasus": {"block_size": 2, "num_random_blocks": 1},
    # here the name means positions
    "semantic": {"block_size": 64},
    "coarse_acoustics": {"block_size": 64},
    "fine_acoustics": {"block_size": 64},
}
