"""Save a tiny PaliGemma-2-style model, one full layer and one of a 4-token window, with random weights."""

import sys

import torch
from transformers import AutoTokenizer, PaliGemmaConfig, PaliGemmaForConditionalGeneration

from maskviz import demo

torch.manual_seed(0)
folder = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(demo.folder("gpt"))
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
config = PaliGemmaConfig(
    text_config=sizes
    | {
        "model_type": "gemma2",
        "vocab_size": len(tokenizer),
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": 4,
        "layer_types": ["full_attention", "sliding_attention"],
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    },
    vision_config=sizes | {"model_type": "siglip_vision_model", "image_size": 28, "patch_size": 14},
    image_token_index=0,
    projection_dim=32,
    hidden_size=32,
)
PaliGemmaForConditionalGeneration(config).save_pretrained(folder)
tokenizer.save_pretrained(folder)
