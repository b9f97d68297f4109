"""Save a tiny Gemma-3-style model, one full layer and two of a 4-token window, with random weights."""

import sys

import torch
from transformers import AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig

from maskviz import demo

torch.manual_seed(0)
folder = sys.argv[1]
tokenizer = AutoTokenizer.from_pretrained(demo.folder("gpt"))
config = Gemma3TextConfig(
    vocab_size=len(tokenizer),
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    sliding_window=4,
    layer_types=["full_attention", "sliding_attention", "sliding_attention"],
    pad_token_id=tokenizer.pad_token_id,
    bos_token_id=tokenizer.bos_token_id,
    eos_token_id=tokenizer.eos_token_id,
)
Gemma3ForCausalLM(config).save_pretrained(folder)
tokenizer.save_pretrained(folder)
