"""Two texts of eight and five words as vectors, and their padding mask both ways round."""

import json
from pathlib import Path

import numpy as np

rng = np.random.default_rng(0)
words = [["the", "cat", "sat", "in", "the", "house", "all", "day"], ["the", "dog", "ran", "away", "fast"]]
vectors = {word: rng.standard_normal(32) for word in sorted({word for row in words for word in row})}
src = np.zeros((2, 8, 32), np.float32)
padding = np.ones((2, 8), bool)
for row, text in enumerate(words):
    src[row, : len(text)] = [vectors[word] for word in text]
    padding[row, : len(text)] = False
np.savez("right.npz", src=src, src_key_padding_mask=padding)  # True is padding, as torch's modules have it
np.savez("inverted.npz", src=src, src_key_padding_mask=~padding)  # True is a word, as a tokenizer's mask has it
rows = [[*text, *["[pad]"] * (8 - len(text))] for text in words]
Path("words.json").write_text(json.dumps(rows), encoding="utf-8")
