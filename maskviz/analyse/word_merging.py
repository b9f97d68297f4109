"""Attention between words: sums over the tokens a word has as a key, means over those it has as a query."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from maskviz.core.arrays import AnyArray, DoubleArray, IntArray
from maskviz.core.errors import UsageError
from maskviz.core.rules.algebra import Opaque
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.grouping import Grouping
from maskviz.core.run.trace import AttentionCall, Batch, Mask, Trace
from maskviz.core.words import Role
from maskviz.core.writing import parameter


def merged_words(trace: Trace, words: Grouping) -> Trace:
    """The run with one token for each word (Clark et al. 2019, section 4.1).

    Attention to a word is the sum over its tokens; attention from a word is the mean over its tokens, of those that see
    any key. Rows keep their sums. A word sees what any of its tokens sees. Padding stands behind the words.

    Raises:
        UsageError: the keys of a call are not the tokens of its text.
    """
    calls = tuple(_merged_call(trace, call, words) for call in trace.calls)
    return replace(trace, batch=_merged_batch(trace.batch, words), calls=calls, outputs=None)


def _merged_batch(batch: Batch, words: Grouping) -> Batch:
    """The batch of words: a word's id stands for its text, its role is that of its first token."""
    length = int(words.groups.max()) + 1
    numbers: dict[str, int] = {}
    ids = np.zeros((batch.rows, length), np.int64)
    keep = np.zeros((batch.rows, length), np.bool_)
    tokens, roles = [], []
    for row, names in enumerate(words.names):
        first = _first_tokens(words.groups[row], len(names))
        keep[row, : len(names)] = batch.keep[row, first]
        ids[row, : len(names)] = [numbers.setdefault(name, len(numbers)) for name in names]
        behind = length - len(names)
        tokens.append((*names, *[""] * behind))
        roles.append((*(batch.roles[row][place] for place in first), *[Role.PADDING] * behind))
    decoder = None
    if batch.decoder is not None and words.decoder is not None:
        decoder = _merged_batch(batch.decoder, words.decoder)
    return Batch(ids, keep, tuple(tokens), tuple(roles), batch.texts, decoder=decoder)


def _first_tokens(groups: IntArray, count: int) -> list[int]:
    return [int(np.argmax(groups == group)) for group in range(count)]


def _merged_call(trace: Trace, call: AttentionCall, words: Grouping) -> AttentionCall:
    if call.pattern is None:
        return call
    sides = [words if side is trace.batch else words.decoder for side in trace.sides(call)]
    down, across = (_members(side) for side in sides)
    if call.pattern.shape[2:] != (down.shape[2], across.shape[2]):
        raise UsageError(
            f"{call.stack} layer {call.layer} attends to more or less than the tokens",
            f"leave out {parameter('words')}",
        )
    visible = call.mask.visible
    sighted = np.asarray(visible.any(axis=-1))
    member = down[:, None] * sighted[:, :, None]  # [batch, 1 or head, word, query]
    sees = (down[:, None] @ visible.astype(np.float64) @ across[:, None].swapaxes(-1, -2)) > 0
    count = np.maximum(member.sum(axis=-1, keepdims=True), 1)
    blind = np.where(sighted[..., None], call.pattern.astype(np.float64), 0.0)
    pattern = (member / count) @ blind @ across[:, None].swapaxes(-1, -2)
    reasons = np.where(sees, 0, Reason.OTHER).astype(np.uint8)
    mask = Mask(sees, reasons, Opaque("words"))
    return replace(call, mask=mask, pattern=pattern.astype(np.float32))


def _members(words: Grouping | None) -> DoubleArray:
    """float64 [batch, word, token], 1 where a token belongs to a word."""
    if words is None:
        raise ValueError("the decoder's words are not known")
    numbers: AnyArray = np.arange(int(words.groups.max()) + 1)
    return np.asarray(words.groups[:, None, :] == numbers[:, None], dtype=np.float64)
