"""A long run made of small dense patterns, pooled with loops, so that every number in it can be checked."""

from __future__ import annotations

import math

import numpy as np

from maskviz.core.arrays import BoolArray, Content, FloatArray
from maskviz.core.rules.algebra import Rule, all_of
from maskviz.core.rules.kinds import Causal, Padding, Window
from maskviz.core.run.long import LongCall, LongTrace, Region
from maskviz.core.run.trace import Batch, ModelCard
from maskviz.core.words import Role, Stack, Statistic, Way

QUERIES, TILE, LAYERS, HEADS = 40, 8, 2, 3
PADDED = 5  # the second text ends in so many padding tokens
ROWS = (3, 17)
REGION = Region(10, 22, 2, 20)
CARD = ModelCard(
    "made-up", "MadeUpForCausalLM", "made-up", False, (LAYERS,), (HEADS,), (HEADS,), dtype="float32", device="cpu"
)


def visible(row: int, layer: int) -> BoolArray:
    """bool [query, key] of the rules of `long_trace`."""
    query, key = np.indices((QUERIES, QUERIES))
    seen = key <= query
    if layer == 1:
        seen &= query - key < 12
    if row == 1:
        seen &= key < QUERIES - PADDED
    return seen


def rule_of(layer: int) -> Rule:
    """The rule of a layer: causal, and a window in layer 1, and the padding of the batch."""
    window = (Window(12),) if layer == 1 else ()
    return all_of(Causal(), *window, Padding(Content(keep(), np.bool_)))


def keep() -> BoolArray:
    """bool [batch, token]."""
    kept = np.ones((2, QUERIES), np.bool_)
    kept[1, -PADDED:] = False
    return kept


def pattern(row: int, layer: int, head: int) -> FloatArray:
    """float32 [query, key]: head 0 looks at the first token, head 1 one back, head 2 everywhere by chance."""
    random = np.random.default_rng(100 * row + 10 * layer + head)
    scores = random.normal(size=(QUERIES, QUERIES))
    query, key = np.indices(scores.shape)
    scores += 4.0 * (key == 0) * (head == 0) + 5.0 * (query - key == 1) * (head == 1)
    scores = np.where(visible(row, layer), scores, -np.inf)
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    weights: FloatArray = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    return weights


def dense(layer: int) -> FloatArray:
    """float32 [batch, head, query, key] of one layer."""
    return np.array([[pattern(row, layer, head) for head in range(HEADS)] for row in range(2)])


def naive_sums(weights: FloatArray, real: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Sum and largest of each tile of float32 [query, key] over the real queries, by a loop over cells."""
    tiles = -(-QUERIES // TILE)
    sums, largest = np.zeros((tiles, tiles)), np.zeros((tiles, tiles))
    for query, key in np.ndindex(weights.shape):
        if real[query]:
            place = query // TILE, key // TILE
            sums[place] += weights[query, key]
            largest[place] = max(largest[place], weights[query, key])
    return sums.astype(np.float32), largest.astype(np.float32)


def naive_statistics(weights: FloatArray, real: BoolArray) -> dict[Statistic, FloatArray]:
    """[query] of each statistic, by a loop over cells."""
    found = {
        name: np.full(QUERIES, np.nan)
        for name in (
            Statistic.ENTROPY,
            Statistic.FIRST,
            Statistic.ITSELF,
            Statistic.PREVIOUS,
            Statistic.DISTANCE,
            Statistic.INDUCTION,
        )
    }
    for query in np.flatnonzero(real).tolist():
        line = [float(weight) for weight in weights[query]]
        found[Statistic.ENTROPY][query] = -sum(weight * math.log(weight) for weight in line if weight > 0)
        found[Statistic.FIRST][query] = line[0]
        found[Statistic.ITSELF][query] = line[query]
        found[Statistic.PREVIOUS][query] = line[query - 1] if query else 0.0
        found[Statistic.DISTANCE][query] = sum(abs(query - key) * weight for key, weight in enumerate(line))
        # Tokens repeat every ten; what follows an earlier token like the query's.
        found[Statistic.INDUCTION][query] = sum(line[key] for key in range(1, query) if (key - 1 - query) % 10 == 0)
    return {name: values.astype(np.float32) for name, values in found.items()}


def batch() -> Batch:
    """Two texts of 40 tokens; the second ends in padding."""
    ids = np.tile(np.arange(QUERIES) % 10, (2, 1))
    words = tuple(f"w{number % 10}" for number in range(QUERIES))
    padded = (*words[:-PADDED], *["[PAD]"] * PADDED)
    roles = (Role.SPECIAL, *[Role.TEXT] * (QUERIES - 1))
    return Batch(
        ids, keep(), (words, padded), (roles, (*roles[:-PADDED], *[Role.PADDING] * PADDED)), ("a text", "another")
    )


def long_call(layer: int, region: Region | None = REGION) -> LongCall:
    """One layer of `long_trace`."""
    weights, real = dense(layer), keep()
    pooled = [[naive_sums(weights[row, head], real[row]) for head in range(HEADS)] for row in range(2)]
    measured = [[naive_statistics(weights[row, head], real[row]) for head in range(HEADS)] for row in range(2)]
    return LongCall(
        Stack.DECODER,
        layer,
        f"model.layers.{layer}.self_attn",
        HEADS,
        HEADS,
        rule_of(layer),
        QUERIES,
        QUERIES,
        np.array([[sums for sums, _ in heads] for heads in pooled]),
        np.array([[largest for _, largest in heads] for heads in pooled]),
        {name: np.array([[one[name] for one in heads] for heads in measured]) for name in measured[0][0]},
        weights[:, :, list(ROWS)],
        None if region is None else weights[:, :, region.queries, region.keys],
        Way.BLOCKS,
        1.5e-7,
    )


def long_trace(region: Region | None = REGION) -> LongTrace:
    """2 layers x 3 heads over two texts of 40 tokens, pooled into tiles of 8."""
    calls = tuple(long_call(layer, region) for layer in range(LAYERS))
    return LongTrace(CARD, batch(), calls, TILE, ROWS, region, 16, ("a note on the run",))
