"""The mistakes of this folder, each made as people make them, of "The dog ran." and "The cat sat on the mat."."""

import json
from pathlib import Path

import numpy as np

BERT = [2, 274, 626, 459, 18, 3], [2, 274, 652, 967, 383, 263, 715, 18, 3]  # 0 is padding
GPT = [271, 623, 456, 15], [271, 649, 964, 380, 260, 712, 15]
LEAST = np.finfo(np.float32).min


def write(name, *rows):
    Path(f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def padded(row, length, side="right", filler=0):
    extra = [filler] * (length - len(row))
    return extra + list(row) if side == "left" else list(row) + extra


def keep(row, length, side="right"):
    return padded([1] * len(row), length, side)


# Batches: P1, P4, P5, P6, P8, B1 to B8, T1 and K1.
write("mask-of-ones", *({"input_ids": padded(row, 9), "attention_mask": [1] * 9} for row in BERT))
write(
    "left-padded",
    *({"input_ids": padded(row, 7, "left"), "attention_mask": keep(row, 7, "left")} for row in GPT),
)
write(
    "labels-on-padding",
    *({"input_ids": padded(row, 7), "attention_mask": keep(row, 7), "labels": padded(row, 7)} for row in GPT),
)
write(
    "empty-row",
    {"input_ids": BERT[0], "attention_mask": [1] * 6},
    {"input_ids": [0] * 6, "attention_mask": [0] * 6},
)
write("without-specials", *({"input_ids": row, "attention_mask": [1] * (len(row) - 2)} for row in BERT))
write(
    "packed",
    {
        "input_ids": [*GPT[0], *GPT[1]],
        "attention_mask": [1] * 11,
        "position_ids": [*range(4), *range(7)],
    },
)

ROW = {"input_ids": GPT[1], "attention_mask": [1] * 7}
write("too-few-labels", ROW | {"labels": GPT[1][1:]})
write("labels-shifted", ROW | {"labels": [*GPT[1][1:], -100]})
write("label-outside", ROW | {"labels": [*GPT[1][:-1], 99_999]})
write("no-label", ROW | {"labels": [-100] * 7, "assistant_masks": [0] * 7})
write("misspelt-key", ROW | {"attention_masks": [1] * 7})
write("boolean-ids", {"input_ids": [token > 300 for token in GPT[1]]})
write("first-token-twice", {"input_ids": [2, *BERT[0]], "attention_mask": [1] * 7})
write(
    "mask-upside-down",
    *({"input_ids": padded(row, 9), "attention_mask": padded([0] * len(row), 9, filler=1)} for row in BERT[:1]),
)
write("numbered-texts", {"input_ids": [*GPT[0], *GPT[1]], "attention_mask": [1] * 4 + [2] * 7})
write("short-mask", {"input_ids": GPT[1], "attention_mask": [1] * 5})

# Masks in a batch's company: P10, P12, L1 and T10, and the rows they belong to.
write("right-padded", *({"input_ids": padded(row, 9), "attention_mask": keep(row, 9)} for row in BERT))
np.save("all-ones.npy", np.ones((2, 1, 9, 9), bool))
np.save("three-axes.npy", np.tile(np.array([keep(row, 9) for row in BERT], bool)[:, None], (1, 9, 1)))
write("one-text", ROW)
np.save("padding-alone.npy", np.ones((1, 1, 7, 7), bool))  # of a decoder: nothing keeps it from looking ahead
branches = np.tril(np.ones((7, 7), bool))
branches[5:, 3:5] = False  # tokens 3, 4 and tokens 5, 6 go on from token 2
np.save("branches.npy", branches[None, None])

# Masks: T1, T2, T3, T5, T9, T11, T12, T13, N3 and L2. Queries down, keys across.
tokens = np.arange(8)
causal = tokens[None, :] <= tokens[:, None]
padding = np.array([tokens < 8, tokens < 5])  # of two rows
np.save("inverted.npy", np.tril(np.ones((8, 8), bool)))  # True = ignore in nn.MultiheadAttention
np.save("ones-and-zeros.npy", causal[None, None].astype(np.float32))
np.save("boolean-in-eager.npy", (causal & padding[:, None, :])[:, None])
np.save("repeated.npy", np.tile(~(causal & padding[:, None, :]), (4, 1, 1)))  # repeat(4, 1, 1), not repeat_interleave
np.save("from-the-first-key.npy", np.tril(np.ones((3, 8), bool)))
with np.errstate(over="ignore"):
    np.save("minimum-twice.npy", np.where(causal, 0, LEAST)[None, None] + np.where(padding, 0, LEAST)[:, None, None, :])
np.save("window-of-five.npy", causal & (tokens[:, None] - tokens[None, :] <= 4))  # 4 was meant

np.save("swapped.npy", causal.T)  # [key, query]
np.save("offsets.npy", np.array([3, 5, 10], np.int32))  # cu_seqlens without its 0
np.save("meant-to-be-blocks.npy", causal)

# A config whose words its own code does not follow: L4.
sliding = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 99,
    "hidden_size": 32,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "sliding_window": 4,
    "layer_types": ["sliding_attention", "full_attention"],
}
Path("sliding.json").write_text(json.dumps(sliding, indent=2) + "\n")

# A window that no layer has, by a default of the config's class: L13.
unused = {name: value for name, value in sliding.items() if name != "layer_types"}
unused |= {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "use_sliding_window": True}
Path("unused-window.json").write_text(json.dumps(unused, indent=2) + "\n")
