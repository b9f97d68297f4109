"""Tokens and numbers as panels say them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby, islice

import numpy as np

from maskviz.core.panels.page import Token, TokenStrip
from maskviz.core.run.trace import AttentionCall, Batch, Trace
from maskviz.core.words import Role

# Texts of a packed row that are written out; more are read by nobody.
_MOST_PACKED = 12


def axes_of(trace: Trace, call: AttentionCall, row: int) -> tuple[tuple[Token, ...], tuple[Token, ...]]:
    """What stands along the query and the key axis of a call: tokens; or the numbers of an axis of its own (pooled
    tokens, latents); keys behind those of the text are said to be the model's own."""
    query_side, key_side = trace.sides(call)
    queries, keys = call.mask.visible.shape[2:]
    offset = call.mask.query_offset
    if queries + offset != query_side.length:
        own = tokens_of(key_side, row, keys) if keys == key_side.length else _numbers(keys)
        return _numbers(queries), own
    down = tokens_of(query_side, row, queries, offset)
    if keys < key_side.length:
        return down, _numbers(keys)
    more = (Token(f"own key {place}", "special", place=key_side.length + place) for place in range(keys))
    return down, (*tokens_of(key_side, row, key_side.length), *islice(more, keys - key_side.length))


def tokens_of(batch: Batch, row: int, count: int, offset: int = 0) -> tuple[Token, ...]:
    """`count` tokens of a row from `offset` on."""
    texts, roles = batch.tokens[row], batch.roles[row]
    return tuple(Token(texts[place], roles[place].value, place=place) for place in range(offset, offset + count))


def _numbers(count: int) -> tuple[Token, ...]:
    return tuple(Token(str(place), place=place) for place in range(count))


def token_strips(trace: Trace, rows: Iterable[int]) -> list[TokenStrip]:
    """The tokens of the chosen rows, and of the decoder's where there is one."""
    rows = tuple(rows)
    sides = [("tokens", trace.batch)]
    if trace.batch.decoder is not None:
        sides = [("encoder tokens", trace.batch), ("decoder tokens", trace.batch.decoder)]
    if trace.batch.documents is not None:
        return [_packed_strip(trace.batch)]
    names = tuple(f"text {row + 1}" for row in rows) if trace.batch.rows > 1 else ()
    return [
        TokenStrip(title, tuple(_folded(tokens_of(side, row, side.length)) for row in rows), names)
        for title, side in sides
    ]


def _folded(row: tuple[Token, ...]) -> tuple[Token, ...]:
    """The row with each run of one image token as a single token that says how many it stands for."""
    runs = [list(run) for _, run in groupby(row, key=lambda token: (token.text, token.role))]
    return tuple(
        token
        for run in runs
        for token in (
            [Token(f"{run[0].text} × {len(run)}", run[0].role, len(run))]
            if run[0].role == Role.IMAGE and len(run) > 1
            else run
        )
    )


def _packed_strip(batch: Batch) -> TokenStrip:
    """The texts of a packed row, each on a line of its own and numbered on."""
    assert batch.documents is not None
    documents = batch.documents[0]
    starts = [0, *(np.flatnonzero(documents[1:] != documents[:-1]) + 1).tolist()]
    ends = [*starts[1:], batch.length]
    title = "tokens, packed into one row"
    if len(starts) > _MOST_PACKED:
        title += f": the first {_MOST_PACKED} of {len(starts)} texts"
        starts, ends = starts[:_MOST_PACKED], ends[:_MOST_PACKED]
    rows = tuple(tokens_of(batch, 0, end - start, start) for start, end in zip(starts, ends, strict=True))
    names = tuple(f"text {documents[start] + 1}" for start in starts)
    return TokenStrip(title, rows, names, tuple(starts))
