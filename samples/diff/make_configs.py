"""Two configs of one model, every layer full or two of three with a window of 4 tokens; and the mask of a prefix."""

import json
from pathlib import Path

import numpy as np

config = {
    "model_type": "gemma3_text",
    "architectures": ["Gemma3ForCausalLM"],
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "sliding_window": 4,
}
kinds = {"full": ["full_attention"] * 3, "windows": ["full_attention", "sliding_attention", "sliding_attention"]}
for name, layers in kinds.items():
    Path(f"{name}.json").write_text(json.dumps(config | {"layer_types": layers}, indent=2) + "\n")

tokens = np.arange(7)
np.save("prefix.npy", ((tokens <= tokens[:, None]) | (tokens < 3))[None, None])  # the first three see each other
