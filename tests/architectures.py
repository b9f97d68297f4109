"""Tiny random models of the architectures the project promises to get right, one builder per model type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

VOCABULARY = 99

_COMMON: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
_GROUPED = _COMMON | {"num_key_value_heads": 2, "head_dim": 8}
_OLD = {"vocab_size": VOCABULARY, "n_layer": 3, "n_head": 4, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
_HYBRID = ["full_attention", "sliding_attention", "sliding_attention"]

# Model type: (config class, model class, the numbers of the config).
ARCHITECTURES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "bert": ("BertConfig", "BertForMaskedLM", _COMMON),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", _OLD | {"n_embd": 32, "n_positions": 64}),
    "llama": ("LlamaConfig", "LlamaForCausalLM", _GROUPED),
    "mistral": ("MistralConfig", "MistralForCausalLM", _GROUPED | {"sliding_window": 4}),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", _GROUPED | {"sliding_window": 4, "layer_types": _HYBRID}),
    "gemma3": ("Gemma3TextConfig", "Gemma3ForCausalLM", _GROUPED | {"sliding_window": 4, "layer_types": _HYBRID}),
    "modernbert": (
        "ModernBertConfig",
        "ModernBertForMaskedLM",
        _COMMON | {"local_attention": 4, "cls_token_id": 1, "sep_token_id": 2},
    ),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", _GROUPED),
    "gpt_oss": (
        "GptOssConfig",
        "GptOssForCausalLM",
        _GROUPED | {"sliding_window": 4, "num_local_experts": 2, "num_experts_per_tok": 1, "layer_types": _HYBRID},
    ),
    "t5": (
        "T5Config",
        "T5ForConditionalGeneration",
        {
            "vocab_size": VOCABULARY,
            "d_model": 32,
            "d_kv": 8,
            "d_ff": 40,
            "num_layers": 3,
            "num_decoder_layers": 2,
            "num_heads": 4,
            "pad_token_id": 0,
            "decoder_start_token_id": 0,
        },
    ),
    "bart": (
        "BartConfig",
        "BartForConditionalGeneration",
        {
            "vocab_size": VOCABULARY,
            "d_model": 32,
            "encoder_layers": 3,
            "decoder_layers": 2,
            "encoder_attention_heads": 4,
            "decoder_attention_heads": 4,
            "encoder_ffn_dim": 40,
            "decoder_ffn_dim": 40,
            "max_position_embeddings": 64,
            "pad_token_id": 0,
            "bos_token_id": 1,
            "eos_token_id": 2,
        },
    ),
    "bloom": ("BloomConfig", "BloomForCausalLM", _OLD | {"hidden_size": 32}),
    "mpt": (
        "MptConfig",
        "MptForCausalLM",
        {"vocab_size": VOCABULARY, "d_model": 32, "n_layers": 3, "n_heads": 4, "max_seq_len": 64},
    ),
    "falcon": ("FalconConfig", "FalconForCausalLM", _COMMON | {"multi_query": True, "new_decoder_architecture": False}),
    "gptj": ("GPTJConfig", "GPTJForCausalLM", _OLD | {"n_embd": 32, "n_positions": 64, "rotary_dim": 4}),
    "deberta-v2": (
        "DebertaV2Config",
        "DebertaV2ForMaskedLM",
        _COMMON | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_biased_input": False},
    ),
    "xlnet": (
        "XLNetConfig",
        "XLNetLMHeadModel",
        {"vocab_size": VOCABULARY, "d_model": 32, "n_layer": 3, "n_head": 4} | {"d_inner": 40, "pad_token_id": 0},
    ),
}

# Types beyond the promise whose attention comes in other shapes: scores of [batch * head, query, key] (XGLM, TrOCR),
# chunks that start behind the padding (Llama 4), two mask constants at once (OpenAI GPT), one module for all layers
# (ALBERT), positions counted from ids (RoBERTa).
MORE: dict[str, tuple[str, str, dict[str, Any]]] = {
    "xglm": (
        "XGLMConfig",
        "XGLMForCausalLM",
        {"vocab_size": VOCABULARY, "d_model": 32, "ffn_dim": 40, "num_layers": 3, "attention_heads": 4}
        | {"max_position_embeddings": 64, "pad_token_id": 0},
    ),
    "trocr": (
        "TrOCRConfig",
        "TrOCRForCausalLM",
        {"vocab_size": VOCABULARY, "d_model": 32, "decoder_ffn_dim": 40, "decoder_layers": 3}
        | {"decoder_attention_heads": 4, "max_position_embeddings": 64, "pad_token_id": 0},
    ),
    "openai-gpt": ("OpenAIGPTConfig", "OpenAIGPTLMHeadModel", _OLD | {"n_embd": 32, "n_positions": 64}),
    "llama4": (
        "Llama4TextConfig",
        "Llama4ForCausalLM",
        _GROUPED
        | {"num_hidden_layers": 4, "attention_chunk_size": 4, "intermediate_size_mlp": 40}
        | {"num_local_experts": 2, "num_experts_per_tok": 1},
    ),
    "albert": ("AlbertConfig", "AlbertForMaskedLM", _COMMON | {"embedding_size": 16}),
    "roberta": ("RobertaConfig", "RobertaForMaskedLM", _COMMON),
}

# Which of them pad on the left, as decoders do.
LEFT_PADDED = {
    "llama4",
    "xglm",
    "openai-gpt",
    "gpt2",
    "llama",
    "mistral",
    "gemma2",
    "gemma3",
    "qwen3",
    "gpt_oss",
    "bloom",
    "mpt",
    "falcon",
    "gptj",
}
ENCODER_DECODERS = {"t5", "bart"}


def tiny(model_type: str, seed: int = 0, attention: str | None = None) -> PreTrainedModel:
    """A random model of a type, the same every time; attention sharpened so that its maps are not all flat.

    `attention` is the implementation it is built with, such as "eager"; None leaves the choice to transformers.
    """
    config_name, class_name, numbers = (ARCHITECTURES | MORE)[model_type]
    torch.manual_seed(seed)
    config = getattr(transformers, config_name)(**numbers)
    if attention is not None:
        config._attn_implementation = attention
    build: Callable[..., PreTrainedModel] = getattr(transformers, class_name)
    model = build(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4.0)
    model.train(False)
    return model
