"""Save a tiny Gemma-3-style model with its processor, and a picture; the weights are random."""

import sys

import numpy as np
import torch
import transformers
from PIL import Image
from transformers import AutoTokenizer, Gemma3Config, Gemma3ForConditionalGeneration, Gemma3Processor

from maskviz import demo

torch.manual_seed(0)
folder = sys.argv[1]
tokens = {"image_token": "<image>", "boi_token": "<start>", "eoi_token": "<end>"}
tokenizer = AutoTokenizer.from_pretrained(demo.folder("gpt"), extra_special_tokens=tokens)
sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
config = Gemma3Config(
    text_config=sizes
    | {
        "vocab_size": len(tokenizer),
        "num_key_value_heads": 2,
        "head_dim": 8,
        "sliding_window": 8,
        "layer_types": ["full_attention", "sliding_attention"],
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    },
    vision_config=sizes | {"model_type": "siglip_vision_model", "image_size": 28, "patch_size": 7},
    mm_tokens_per_image=4,
    image_token_index=tokenizer.image_token_id,
    boi_token_index=tokenizer.boi_token_id,
    eoi_token_index=tokenizer.eoi_token_id,
)
Gemma3ForConditionalGeneration(config).save_pretrained(folder)
# The class that works with pillow alone, by its name in this release.
image_processor = getattr(transformers, "Gemma3ImageProcessorPil", None) or transformers.Gemma3ImageProcessor
pictures = image_processor(size={"height": 28, "width": 28})
Gemma3Processor(pictures, tokenizer, image_seq_length=4).save_pretrained(folder)
shades = np.add.outer(np.arange(0, 120, 3), np.arange(0, 120, 3)).astype(np.uint8)
Image.fromarray(shades).save("picture.png")
