"""Statistics of every head of a run, each beside what uniform attention over the same keys would give.

Every text's real queries count once. A query that sees a single key has no choice and is left out; a statistic is a
mean over the queries it says something of: those that see a previous token, those whose token was said before, and so
on. Relative positions count tokens, the first query standing at the mask's `query_offset`.

Shares are of all attention. Entropy, -sum p log p in nats, its share of log(keys a query sees), and the mean distance
|query - key| are of the attention within the text, which is set to sum to 1 where a sink outside takes the rest; reach
is each query's distance over that of uniform attention.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from maskviz.analyse.offsets import offsets_of, positional, top_offsets
from maskviz.core.arrays import BoolArray, DoubleArray, IntArray
from maskviz.core.results.head_reading import HeadReading, LayerReading, Measured
from maskviz.core.results.head_roles import CRITERIA, LEAST_QUERIES, TIMES_CHANCE, RoleScore
from maskviz.core.run.text_attention import TextAttention
from maskviz.core.run.trace import AttentionCall, Batch, Trace
from maskviz.core.words import HeadStatistic, Role, Stack

# What each query gives: [head, query] of the head and of uniform attention, NaN where the query says nothing.
_PerQuery = tuple[DoubleArray, DoubleArray]


def read_heads(
    trace: Trace, counted: BoolArray | None = None, kinds: Collection[HeadStatistic] = tuple(HeadStatistic)
) -> HeadReading:
    """Read every head of a run; attention without a pattern is left out.

    Args:
        trace: The run.
        counted: bool [batch, token], the only tokens that count as queries; None for all real ones.
        kinds: The statistics that are wanted, of those that make sense.
    """
    layers = tuple(read_layer(trace, call, counted, kinds) for call in trace.calls if call.pattern is not None)
    return HeadReading(layers, tuple(trace.batch.keep.sum(axis=1).tolist()))


def read_layer(
    trace: Trace,
    call: AttentionCall,
    counted: BoolArray | None = None,
    kinds: Collection[HeadStatistic] = tuple(HeadStatistic),
    rows: Sequence[int] | None = None,
) -> LayerReading:
    """Read the heads of one attention over texts, None for all, with `counted` and `kinds` as in `read_heads`."""
    rows = range(call.mask.visible.shape[0]) if rows is None else rows
    texts = [text_attention(trace, call, row, counted) for row in rows]
    each = [_measured(text, targets_of(trace, call, row, text.places)) for row, text in zip(rows, texts, strict=True)]
    measured = {kind: _mean_of([one[kind] for one in each]) for kind in each[0]}
    usual, offsets = None, None
    if _own_tokens(trace, call):
        offsets = offsets_of(texts)
        measured[HeadStatistic.POSITIONAL], usual = positional(offsets)
        distances = [_distances(text) for text in texts]
        measured |= {kind: _mean_of([one[kind] for one in distances]) for kind in distances[0]}
    measured = {kind: measured[kind] for kind in HeadStatistic if kind in measured and kind in kinds}
    return LayerReading(
        stack=call.stack,
        layer=call.layer,
        heads=call.heads,
        measured=measured,
        offsets=() if offsets is None else top_offsets(offsets),
        usual=usual,
        undefined=np.sum([(~text.defined).sum(-1) for text in texts], axis=0),
        roles=tuple(roles_of(measured, head) for head in range(call.heads)),
    )


def roles_of(measured: Mapping[HeadStatistic, Measured], head: int) -> tuple[RoleScore, ...]:
    """The roles of one head of a layer, the one farthest above its threshold first.

    A role needs a mean of at least its threshold on at least `LEAST_QUERIES` queries, and, but for broad heads,
    `TIMES_CHANCE` times what uniform attention would give: in a short causal text every head looks at the first token.
    """
    found = []
    for criterion in CRITERIA:
        one = measured.get(criterion.statistic)
        if one is None or one.queries[head] < LEAST_QUERIES:
            continue
        score, chance = float(one.mean[head]), float(one.chance[head])
        if score >= criterion.threshold and (score >= TIMES_CHANCE * chance or not criterion.above_chance):
            found.append(RoleScore(criterion, score, chance, int(one.queries[head])))
    return tuple(sorted(found, key=lambda role: -role.score / role.criterion.threshold))


def text_attention(trace: Trace, call: AttentionCall, row: int, counted: BoolArray | None = None) -> TextAttention:
    """The attention of one call on one text: its real queries, and of those the counted ones where they are told.

    Raises:
        ValueError: the call kept no pattern.
    """
    if call.pattern is None:
        raise ValueError(f"{call.module} kept no pattern")
    offset, queries = call.mask.query_offset, call.mask.visible.shape[2]
    chosen = trace.real_queries(call)[row]
    if counted is not None and offset + queries == counted.shape[1]:
        chosen = chosen & counted[row, offset:]
    return TextAttention(
        call.pattern[row][:, chosen].astype(np.float64),
        call.mask.visible[row][:, chosen],
        np.flatnonzero(chosen) + offset,
        offset + queries,
    )


def _own_tokens(trace: Trace, call: AttentionCall) -> bool:
    """Whether queries and keys are the same tokens, so that "previous" and "distance" mean something."""
    side = trace.sides(call)[0]
    _, _, queries, keys = call.mask.visible.shape
    return call.stack is not Stack.CROSS and queries + call.mask.query_offset == side.length <= keys


def targets_of(trace: Trace, call: AttentionCall, row: int, places: IntArray) -> dict[HeadStatistic, BoolArray]:
    """The keys each statistic asks the share of, bool [query, key], for queries at these places of one text.

    Sink: the first real token (Xiao et al. 2023). Special tokens: what the tokenizer calls so, but for the mask token
    (Clark et al. 2019). Previous, next, itself: the key one before, one behind, at the query's place. Duplicate: text
    tokens of the query's id elsewhere, later ones too where they are visible (Wang et al. 2022). Induction: keys behind
    an earlier text token of the query's id, "prefix matching" (Olsson et al. 2022), of text tokens alone.
    """
    side = trace.sides(call)[1]
    keys = call.mask.visible.shape[3]
    if keys < side.length:  # keys of their own, such as pooled ones, are no tokens
        return {}
    real = _padded(side.keep[row], keys)
    special = _padded(np.array([role is Role.SPECIAL for role in side.roles[row]]), keys) & real
    first = np.arange(keys) == np.argmax(real)
    found = {
        HeadStatistic.SINK: np.broadcast_to(first & real, (len(places), keys)),
        HeadStatistic.SPECIAL: np.broadcast_to(special, (len(places), keys)),
    }
    if not _own_tokens(trace, call):
        return found
    behind = np.arange(keys) - places[:, None]
    same = _same_tokens(side, row, places, keys)
    follows = np.zeros_like(same)
    follows[:, 1:] = same[:, :-1] & (behind[:, 1:] <= 0) & real[1:]
    return found | {
        HeadStatistic.PREVIOUS: (behind == -1) & real,
        HeadStatistic.NEXT: (behind == 1) & real,
        HeadStatistic.ITSELF: behind == 0,
        HeadStatistic.DUPLICATE: same,
        HeadStatistic.INDUCTION: follows,
    }


def _same_tokens(side: Batch, row: int, places: IntArray, keys: int) -> BoolArray:
    """bool [query, key], True where a key is another token of the query's id, both of them text."""
    text = np.array([role not in (Role.SPECIAL, Role.PADDING) for role in side.roles[row]]) & side.keep[row]
    ids = side.ids[row]
    same = (ids[places][:, None] == ids) & text[places][:, None] & text & (np.arange(len(ids)) != places[:, None])
    return np.stack([_padded(line, keys) for line in same]) if len(places) else np.zeros((0, keys), np.bool_)


def _padded(values: BoolArray, length: int) -> BoolArray:
    """The values with False behind them: keys behind the text are no tokens of it."""
    found = np.zeros(length, np.bool_)
    found[: len(values)] = values
    return found


def _measured(text: TextAttention, targets: Mapping[HeadStatistic, BoolArray]) -> dict[HeadStatistic, _PerQuery]:
    """Entropy and shares of one text, per query."""
    seen = np.broadcast_to(np.maximum(text.seen, 2), text.counts.shape)
    entropy = _entropy(_within(text.weights))
    nothing = ~text.counts
    found = {
        HeadStatistic.ENTROPY: (_without(entropy, nothing), _without(np.log(seen), nothing)),
        HeadStatistic.SPREAD: (_without(entropy / np.log(seen), nothing), _without(np.ones(seen.shape), nothing)),
    }
    for kind, target in targets.items():
        silent = nothing | ~(text.visible & target).any(-1)
        share, chance = (np.einsum("hqk,qk->hq", one, target) for one in (text.weights, text.uniform))
        found[kind] = (_without(share, silent), _without(np.broadcast_to(chance, silent.shape), silent))
    return found


def _distances(text: TextAttention) -> dict[HeadStatistic, _PerQuery]:
    """Mean of |query - key| per query, in tokens, and over that of uniform attention."""
    reach = np.abs(np.arange(text.weights.shape[2]) - text.places[:, None]).astype(np.float64)
    mean, chance = (np.einsum("hqk,qk->hq", one, reach) for one in (_within(text.weights), text.uniform))
    chance = np.broadcast_to(chance, mean.shape)
    nothing = ~text.counts
    with np.errstate(invalid="ignore", divide="ignore"):
        reach = mean / chance
    return {
        HeadStatistic.DISTANCE: (_without(mean, nothing), _without(chance, nothing)),
        HeadStatistic.REACH: (_without(reach, nothing), _without(np.ones_like(mean), nothing)),
    }


def _within(weights: DoubleArray) -> DoubleArray:
    """Weights [head, query, key] whose rows sum to 1; NaN where a row has none."""
    with np.errstate(invalid="ignore"):
        return np.asarray(weights / weights.sum(-1, keepdims=True), dtype=np.float64)


def _entropy(weights: DoubleArray) -> DoubleArray:
    """-sum p log p of rows [head, query, key] in nats, of which 0 counts nothing: float64 [head, query]."""
    return np.asarray(-(weights * np.log(np.where(weights > 0, weights, 1.0))).sum(-1), dtype=np.float64)


def _without(values: DoubleArray, nothing: BoolArray) -> DoubleArray:
    return np.where(nothing, np.nan, values)


def _mean_of(texts: Sequence[_PerQuery]) -> Measured:
    """Mean over the queries of all texts that say something; chance over the same queries."""
    values, chances = (np.concatenate([text[part] for text in texts], axis=1) for part in (0, 1))
    known = ~np.isnan(values)
    queries = known.sum(axis=1)
    with np.errstate(invalid="ignore"):
        mean, chance = (np.where(known, one, 0.0).sum(axis=1) / queries for one in (values, chances))
    return Measured(mean, chance, queries)
