"""A noisy picture of 8 x 8, a step, and a prompt of seven words of which the last two are padding."""

import json
from pathlib import Path

import numpy as np

rng = np.random.default_rng(0)
words = ["a", "cat", "on", "the", "roof", "[pad]", "[pad]"]
np.savez(
    "inputs.npz",
    sample=rng.standard_normal((1, 4, 8, 8)),
    timestep=np.array([10]),
    encoder_hidden_states=rng.standard_normal((1, len(words), 32)),
    encoder_attention_mask=np.array([[word != "[pad]" for word in words]]),
)
Path("prompt.json").write_text(json.dumps([words]), encoding="utf-8")
