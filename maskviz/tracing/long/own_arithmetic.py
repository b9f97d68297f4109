"""Softmax attention without the square: our own arithmetic on blocks of queries, as far as each block sees.

softmax(scale * Q K^T + mask) V, one block of rows at a time, for the query heads of one key head together.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from maskviz.core.rules.extents import Extents
from maskviz.tracing.long.tally import Tally, TilePlace, blocks_of
from maskviz.tracing.seam.onednn import product

# Scores of a block: small enough to stay in a processor's cache, large enough for its matrix products.
_CELLS = 1 << 22
_FEWEST, _MOST = 64, 128  # query rows of a block
_SHAPES = 32  # different numbers of keys of a block: oneDNN makes and keeps code for each
_BLOCKED = -1e30  # exp of it is 0 in every float type, and 0 times it is no NaN


@dataclass(frozen=True, slots=True, eq=False)
class Heads:
    """What an attention call computes with.

    Attributes:
        query: [batch, head, query, width].
        key: [batch, key head, key, width].
        value: [batch, key head, key, value width].
        scale: Factor of the scores.
    """

    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    scale: float

    @property
    def group(self) -> int:
        """Query heads that read one key head."""
        return self.query.shape[1] // self.key.shape[1]


def attend_by_blocks(heads: Heads, extents: Extents, tile: int, tally: Tally) -> torch.Tensor:
    """Attend, add what is seen to a tally, and return the output [batch, query, head, value width].

    Args:
        heads: Queries, keys and values.
        extents: What each query sees; blocks and keys outside of it are not computed.
        tile: Tokens along a side of the tally's tiles.
        tally: Where the weights of each block go.
    """
    batch, count, queries, _ = heads.query.shape
    heads = replace(heads, key=heads.key.contiguous(), value=heads.value.contiguous())
    output = heads.value.new_zeros(batch, queries, count, heads.value.shape[-1])
    for row in range(batch):
        own = extents.of_row(row)
        widest = int((own.last - own.first).max(initial=1))
        rows = max(_FEWEST, min(_MOST, _CELLS // (heads.group * widest)))
        # The last queries first: under a causal mask their blocks are the largest, and what they leave free in memory
        # serves all others.
        for start, stop in reversed(blocks_of(queries, tile, rows)):
            block = _Block.of(own, start, stop, heads.query.device)
            if block is None:
                continue
            cells = heads.group * (stop - start) * (block.keys.stop - block.keys.start)
            at_once = max(1, _CELLS // cells)
            for first in range(0, heads.key.shape[1], at_once):
                some = range(first, min(first + at_once, heads.key.shape[1]))
                _attend(heads, row, some, block, output, tally)
    return output


@dataclass(frozen=True, slots=True, eq=False)
class _Block:
    """Some queries, and the keys one of them at least sees.

    Attributes:
        queries, keys: Ranges of each.
        edges: Ranges of keys, from the block's first, that some query does not see, and which [query, key] it does not.
        unkept: Keys no query sees, from the block's first.
    """

    queries: slice
    keys: slice
    edges: tuple[tuple[slice, torch.Tensor], ...]
    unkept: torch.Tensor

    @classmethod
    def of(cls, extents: Extents, start: int, stop: int, device: torch.device) -> _Block | None:
        """The block of the queries start to stop; None where they see nothing."""
        first, last = extents.first[0, start:stop], extents.last[0, start:stop]
        seeing = last > first
        if not seeing.any():
            return None
        step = max(1, extents.keys // _SHAPES)
        low = int(first[seeing].min()) // step * step
        high = min(extents.keys, -(-int(last[seeing].max()) // step) * step)
        inner = (int(first[seeing].max()), int(last[seeing].min()))  # what each of them sees
        if inner[0] >= inner[1] or not seeing.all():
            spans = [(low, high)]
        else:
            spans = [span for span in ((low, inner[0]), (inner[1], high)) if span[0] < span[1]]
        edges = []
        for left, right in spans:
            key = np.arange(left, right)
            hidden = (key < first[:, None]) | (key >= last[:, None])
            edges.append((slice(left - low, right - low), torch.as_tensor(hidden, device=device)))
        unkept = np.empty(0, np.int64) if extents.kept is None else np.flatnonzero(~extents.kept[0, low:high])
        return cls(slice(start, stop), slice(low, high), tuple(edges), torch.as_tensor(unkept, device=device))


def _attend(heads: Heads, row: int, key_heads: range, block: _Block, output: torch.Tensor, tally: Tally) -> None:
    """Attend with some key heads in one block.

    With s the scores less their largest: H = -sum p s + ln sum exp s, and the largest weight is 1 / sum exp s.
    """
    queries, keys = (one.stop - one.start for one in (block.queries, block.keys))
    group = heads.group
    weights = heads.query.new_empty(len(key_heads) * group, queries, keys)
    expected = heads.query.new_empty(len(weights), queries)  # sum p s
    for number, key_head in enumerate(key_heads):
        at = slice(key_head * group, (key_head + 1) * group)
        here = slice(number * group, (number + 1) * group)
        query = (heads.query[row, at, block.queries] * heads.scale).flatten(0, 1)
        scores = product(query, heads.key[row, key_head, block.keys]).view(group, queries, -1)
        for hidden_keys, hidden in block.edges:
            scores[:, :, hidden_keys].masked_fill_(hidden, _BLOCKED)
        if len(block.unkept):
            scores.index_fill_(2, block.unkept, _BLOCKED)
        scores.sub_(scores.amax(-1, keepdim=True))
        torch.softmax(scores, -1, out=weights[here])
        torch.sum(scores.mul_(weights[here]), -1, out=expected[here])
        mixed = product(weights[here].flatten(0, 1), heads.value[row, key_head, block.keys].T)
        output[row, block.queries, at] = mixed.view(group, queries, -1).transpose(0, 1)
    place = TilePlace(row, key_heads.start * group, block.queries.start, block.keys.start)
    tally.add(place, weights, -expected - weights.amax(-1).log())
