"""Two runs of one batch, before and after a change."""

from __future__ import annotations

import numpy as np

from maskviz.core.arrays import AnyArray, FloatArray
from maskviz.core.results.results import Candidate, Comparison, HiddenDiff, LossDiff, PatternDiff, PlaceDiff
from maskviz.core.run.trace import OutputKind, Outputs, Trace


def compare(before: Trace, after: Trace, top: int = 5) -> Comparison:
    """Compare the outputs and the attention of two runs of the same batch through the same calls.

    Args:
        before, after: The runs.
        top: How many of the most probable tokens or classes of each run to list per place.
    """
    patterns = tuple(_moved(before, after, index) for index in range(len(after.calls)))
    if before.outputs is None or after.outputs is None:
        return Comparison(None, (), (), (), (), patterns)
    return Comparison(
        kind=after.outputs.kind,
        labels=after.outputs.labels,
        places=_places(before.outputs, after.outputs, top),
        losses=_losses(before.outputs, after.outputs),
        hidden=_hidden(before, after),
        patterns=patterns,
    )


def _moved(before: Trace, after: Trace, index: int) -> PatternDiff:
    call, earlier = after.calls[index], before.calls[index]
    if call.pattern is None or earlier.pattern is None:
        return PatternDiff(call, np.full(call.heads, np.nan, dtype=np.float32))
    distance = np.abs(call.pattern - earlier.pattern).sum(axis=-1) / 2  # [batch, head, query]
    real = after.real_queries(call)
    return PatternDiff(call, distance.transpose(0, 2, 1)[real].mean(axis=0, dtype=np.float64).astype(np.float32))


def _places(before: Outputs, after: Outputs, top: int) -> tuple[PlaceDiff, ...]:
    if not before.logits.size:
        return ()
    first, second = _readings(before), _readings(after)
    return tuple(
        _place(before.kind, (int(row), int(position)), first[index], second[index], top)
        for index, (row, position) in enumerate(after.places)
    )


def _readings(outputs: Outputs) -> AnyArray:
    """Logits as they are read, float64 [place, vocabulary or class]: a score as it is, else probabilities."""
    logits = outputs.logits.astype(np.float64)
    if outputs.kind is OutputKind.SCORE:
        return logits
    if outputs.kind is OutputKind.LABELS:
        sigmoid: AnyArray = 1 / (1 + np.exp(-np.clip(logits, -700, 700)))
        return sigmoid
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    softmax: AnyArray = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return softmax


def _place(kind: OutputKind, place: tuple[int, int], before: AnyArray, after: AnyArray, top: int) -> PlaceDiff:
    """Compare readings float64 [vocabulary or class] at one place."""
    listed = {int(index) for readings in (before, after) for index in np.argsort(-readings, kind="stable")[:top]}
    candidates = [Candidate(index, float(before[index]), float(after[index])) for index in listed]
    candidates.sort(key=lambda one: (-max(one.before, one.after), one.index))
    exclusive = kind not in (OutputKind.SCORE, OutputKind.LABELS)
    return PlaceDiff(
        row=place[0],
        position=place[1],
        candidates=tuple(candidates[:top]),
        divergence=_divergence(before, after) if exclusive else None,
        flipped=bool(before.argmax() != after.argmax()),
    )


def _divergence(before: AnyArray, after: AnyArray) -> float:
    """Kullback-Leibler divergence of probabilities `after` from `before`, in nats; infinite where one became 0."""
    likely = before > 0
    with np.errstate(divide="ignore"):
        return float((before[likely] * (np.log(before[likely]) - np.log(after[likely]))).sum())


def _losses(before: Outputs, after: Outputs) -> tuple[LossDiff, ...]:
    if before.token_loss is None or after.token_loss is None:
        return ()
    rows = []
    for row, (first, second) in enumerate(zip(before.token_loss, after.token_loss, strict=True)):
        known = ~np.isnan(first)
        if known.any():
            rows.append(LossDiff(row, int(known.sum()), _mean(first[known]), _mean(second[known])))
    return tuple(rows)


def _hidden(before: Trace, after: Trace) -> tuple[HiddenDiff, ...]:
    first, second = before.outputs, after.outputs
    if first is None or second is None or first.hidden is None or second.hidden is None:
        return ()
    side = after.batch.decoder or after.batch
    behind = max(0, side.length - first.hidden.shape[1])  # after a cache, the last tokens alone
    return tuple(
        _row_change(row, first.hidden[row][keep], second.hidden[row][keep])
        for row, keep in enumerate(side.keep[:, behind:])
    )


def _row_change(row: int, before: FloatArray, after: FloatArray) -> HiddenDiff:
    """Compare hidden states float32 [token, width] of one text."""
    size, other = np.linalg.norm(before, axis=-1), np.linalg.norm(after, axis=-1)
    cosine = (before * after).sum(axis=-1) / np.maximum(size * other, 1e-12)
    change = np.linalg.norm(after - before, axis=-1) / np.maximum(size, 1e-12)
    return HiddenDiff(row, _mean(cosine), _mean(change))


def _mean(values: AnyArray) -> float:
    return float(np.mean(values, dtype=np.float64)) if values.size else float("nan")
