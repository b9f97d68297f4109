"""Save a tiny Gemma-3-style model that reads images, one full layer and two of a 4-token window, random weights."""

import sys

import torch
from transformers import AutoTokenizer, Gemma3Config, Gemma3ForConditionalGeneration

from maskviz import demo

torch.manual_seed(0)
folder = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(demo.folder("gpt"))
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_attention_heads": 4}
config = Gemma3Config(
    text_config=sizes
    | {
        "vocab_size": len(tokenizer),
        "num_hidden_layers": 3,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": 4,
        "layer_types": ["full_attention", "sliding_attention", "sliding_attention"],
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    },
    vision_config=sizes
    | {"model_type": "siglip_vision_model", "num_hidden_layers": 1, "image_size": 28, "patch_size": 14},
    mm_tokens_per_image=4,
)
Gemma3ForConditionalGeneration(config).save_pretrained(folder)
tokenizer.save_pretrained(folder)
