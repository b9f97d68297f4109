"""What of a run is drawn, with its tokens and what stands over and under it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import Protocol, TypeVar

import numpy as np

from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Token, TokenStrip
from maskviz.core.run.heads import parse_selection
from maskviz.core.run.long import Region
from maskviz.core.run.trace import AttentionCall, Batch, ModelCard, Trace
from maskviz.core.words import Only, Role, Scale, Stack
from maskviz.core.writing import parameter, plural, printable


@dataclass(frozen=True, slots=True)
class Choice:
    """What of a trace is to be drawn.

    Attributes:
        layers, heads: Selections such as "0,2-4,-1", None for all.
        stack: "encoder", "decoder", "cross", or None for all.
        text: Number of the text that is drawn, from 1; None draws every text's masks and the longest text's heads.
        scale: Of attention maps, None for the page's own.
        title: Title of the page, None for the text itself.
        region: The only part of masks and maps that is drawn, None for all.
        everything: Whether every head and every mask is drawn, and not those alone that stand out.
        brief: Whether a few lines are wanted.
        only: Masks alone, or attention alone; None for both.
        lines: Whether attention is drawn as lines between tokens: of one head, or the mean of a layer's.
    """

    layers: str | None = None
    heads: str | None = None
    stack: str | None = None
    text: int | None = None
    scale: Scale | None = None
    title: str | None = None
    region: Region | None = None
    everything: bool = False
    brief: bool = False
    only: Only | None = None
    lines: bool = False

    @property
    def named(self) -> bool:
        """Whether what is to be drawn of the attention was said."""
        return self.everything or self.layers is not None or self.heads is not None or self.region is not None


class _Call(Protocol):
    """What a call of a run of either kind says."""

    @property
    def layer(self) -> int: ...


_C = TypeVar("_C", bound=_Call, covariant=True)


class _Run(Protocol[_C]):
    """A run of either kind."""

    @property
    def stacks(self) -> tuple[Stack, ...]: ...

    def of_stack(self, stack: Stack) -> tuple[_C, ...]:
        """The calls of one stack, in order."""


def chosen_calls(trace: _Run[_C], choice: Choice) -> tuple[_C, ...]:
    """The calls of the chosen stack and layers, in order."""
    stacks = trace.stacks
    if choice.stack is not None:
        if choice.stack not in [stack.value for stack in stacks]:
            raise UsageError(f"there is no {choice.stack} attention here", f"there is {', '.join(stacks)}")
        stacks = (Stack(choice.stack),)
    chosen: list[_C] = []
    for stack in stacks:
        calls = trace.of_stack(stack)
        if choice.layers is not None:
            last = max(call.layer for call in calls)
            layers = parse_selection(choice.layers, last + 1, f"{stack} layer" if len(stacks) > 1 else "layer")
            calls = tuple(call for call in calls if call.layer in layers)
            if not calls:
                raise UsageError(f"layer {choice.layers} has no attention", "'maskviz info' lists the layers")
        chosen += calls
    return tuple(chosen)


def chosen_text(batch: Batch, number: int) -> int:
    """The row of the batch that is the text of a number from 1.

    Raises:
        UsageError: there is no such text, or no text has a row of its own.
    """
    if batch.documents is not None:
        raise UsageError(
            f"{parameter('text')} picks a row, and {parameter('packed')} puts all texts into one",
            f"leave out {parameter('text')}",
        )
    if not 1 <= number <= batch.rows:
        raise UsageError(f"text {number} does not exist", f"there are texts 1 to {batch.rows}")
    return number - 1


def drawn_row(batch: Batch, choice: Choice) -> int:
    """The row of the batch whose maps are drawn: the one asked for, else the longest.

    Raises:
        UsageError: there is no such text.
    """
    if choice.text is not None:
        return chosen_text(batch, choice.text)
    return int(batch.keep.sum(axis=1).argmax())


def evidence_line(trace: Trace) -> str:
    """How much a run is to be believed, in a sentence."""
    if not trace.card.device and all(call.pattern is None for call in trace.calls):
        return "As the model's own code builds them from the config; without weights there is no attention to show."
    if trace.drift is None:
        return "As the model's own code ran it; there was no plain output to compare with."
    if math.isnan(trace.drift):
        return "As the model's own code ran it; its outputs are not numbers, listened to or not."
    plain = f"a plain {trace.plain_attention} run" if trace.plain_attention else "a plain run"
    said = f"As the model's own code ran it; listening moved its outputs by at most {trace.drift:.1e} from {plain}"
    if trace.rounding is None or trace.drift > 2 * trace.rounding:
        return f"{said}."
    away = f"that run itself is {trace.rounding:.1e} away from the same weights in float32"
    return f"{said}, within what {trace.card.dtype} rounds: {away}."


def page_title(trace: Trace, choice: Choice) -> str:
    """The title that was chosen, or the text."""
    if choice.title is not None:
        return printable(choice.title)
    return text_line(trace.batch.texts) or f"attention of {printable(trace.card.name)}"


def page_facts(trace: Trace) -> dict[str, str]:
    """What the metadata of a file say of a run."""
    facts = {"model": trace.card.name, "text": " | ".join(trace.batch.texts)}
    if trace.head_mask is not None:
        facts["head mask"] = str(trace.head_mask)
    return {name: printable(fact) for name, fact in facts.items() if fact}


def text_line(texts: Sequence[str]) -> str:
    """The first of some texts, cut where it is long, and how many more there are; empty without any."""
    known = [text for text in texts if text]
    if not known:
        return ""
    first = printable(" ".join(known[0].split()))
    first = first if len(first) <= 90 else f"{first[:89]}…"
    return first if len(known) == 1 else f"{first} (+{len(known) - 1} more)"


def card_line(card: ModelCard) -> str:
    """The model in one line."""
    named = [printable(card.name)] if card.name == card.architecture else [printable(card.name), card.architecture]
    parts = [*named, _size(card)]
    if card.parameters:
        parts.append(f"{short_count(card.parameters)} parameters")
    if card.dtype:
        parts.append(f"{card.dtype} on {card.device}")
    if card.note:
        parts.append(card.note)
    return " · ".join(parts)


def short_count(count: int) -> str:
    """1234567 as 1.2M."""
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f}{letter}"
    return str(count)


def _size(card: ModelCard) -> str:
    if not card.layers or not card.heads:
        return card.model_type
    if card.encoder_decoder and len(card.layers) > 1:
        return f"{card.layers[0]} + {card.layers[1]} layers × {plural(card.heads[0], 'head')}"
    grouped = f" ({plural(card.key_heads[0], 'key head')})" if card.key_heads[:1] != card.heads[:1] else ""
    return f"{plural(card.layers[0], 'layer')} × {plural(card.heads[0], 'head')}{grouped}"


# Padding tokens in a row that are written out.
_SHOWN_PADDING = 3
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
    """The row with each run of one image token, and each long one of padding, as a single token that says how many."""
    runs = [list(run) for _, run in groupby(row, key=lambda token: (token.text, token.role))]
    return tuple(
        token
        for run in runs
        for token in (
            [Token(f"{run[0].text} × {len(run)}", run[0].role, len(run))]
            if len(run) > {Role.IMAGE.value: 1, Role.PADDING.value: _SHOWN_PADDING}.get(run[0].role, len(run))
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
