"""Maps that a model returns in a layout of its own, laid out as query x key by naive loops."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from transformers import PreTrainedConfig

from maskviz.core.arrays import AnyArray

# What follows takes a map as returned, the config, the place of the layer in its stack and the number of tokens, and
# returns float32 [batch, head, query, key], or None where the returned map cannot be laid out.
Layout = Callable[[AnyArray, PreTrainedConfig, int, int], "AnyArray | None"]


def band(returned: AnyArray, config: PreTrainedConfig, layer: int, length: int) -> AnyArray:
    """[batch, head, query, window + 1]: column c of a query is the key c - window / 2 places further (Longformer)."""
    batch, heads, queries, columns = returned.shape
    full = np.zeros((batch, heads, queries, queries), dtype=np.float32)
    for query in range(queries):
        for column in range(columns):
            key = query + column - columns // 2
            if 0 <= key < queries:
                full[:, :, query, key] = returned[:, :, query, column]
    return full[:, :, :length, :length]


def blocks(returned: AnyArray, config: PreTrainedConfig, layer: int, length: int) -> AnyArray:
    """[batch, block, head, query in block, key in three blocks]: a block sees itself and its neighbours (LongT5)."""
    batch, count, heads, size, _ = returned.shape
    full = np.zeros((batch, heads, count * size, count * size), dtype=np.float32)
    for block in range(count):
        for column in range(3 * size):
            key = (block - 1) * size + column
            if 0 <= key < count * size:
                for query in range(size):
                    full[:, :, block * size + query, key] = returned[:, block, :, query, column]
    return full[:, :, :length, :length]


def chunks(returned: AnyArray, config: Any, layer: int, length: int) -> AnyArray | None:
    """[batch, head, chunk, query in chunk, key in chunks]: the chunk before the first is the last (Reformer).

    The hashed layers return theirs in the order of their buckets, which they do not return.
    """
    if config.attn_layers[layer] != "local":
        return None
    batch, heads, count, size, columns = returned.shape
    before = config.local_num_chunks_before
    full = np.zeros((batch, heads, count * size, count * size), dtype=np.float32)
    for chunk in range(count):
        for column in range(columns):
            key = ((chunk - before + column // size) % count) * size + column % size
            for query in range(size):
                full[:, :, chunk * size + query, key] += returned[:, :, chunk, query, column]
    return full[:, :, :length, :length]


def globals_last(returned: AnyArray, config: Any, layer: int, length: int) -> AnyArray:
    """[batch, head, block, query in block, global and block]: keys as tokens, then the global tokens (Pegasus-X).

    Every second layer's blocks are shifted by half a block.
    """
    batch, heads, count, size, columns = returned.shape
    extra = columns - size
    shift = size // 2 if config.stagger_local_blocks and layer % 2 == 1 else 0
    places = count * size - 2 * shift
    full = np.zeros((batch, heads, places, length + extra), dtype=np.float32)
    for block in range(count):
        for row in range(size):
            query = block * size + row - shift
            if not 0 <= query < places:
                continue
            full[:, :, query, length:] = returned[:, :, block, row, :extra]
            for column in range(size):
                key = block * size + column - shift
                if 0 <= key < length:
                    full[:, :, query, key] = returned[:, :, block, row, extra + column]
    return full[:, :, :length]


def padded_keys(returned: AnyArray, config: PreTrainedConfig, layer: int, length: int) -> AnyArray:
    """[batch, head, query, key] padded to whole blocks (BigBird)."""
    return returned[:, :, :length, :length]


# By model type and stack ("" for a model of one stack).
LAYOUTS: dict[tuple[str, str], Layout] = {
    ("longformer", ""): band,
    ("led", "encoder"): band,
    ("longt5", "encoder"): blocks,
    ("pegasus_x", "encoder"): globals_last,
    ("reformer", ""): chunks,
    ("big_bird", ""): padded_keys,
    ("bigbird_pegasus", "encoder"): padded_keys,
}


def attends(model_type: str, config: Any, layer: int) -> bool:
    """Whether what a layer returns is attention: MiniMax's linear layers return the state of their recurrence."""
    return model_type != "minimax" or config.layer_types[layer] != "linear_attention"
