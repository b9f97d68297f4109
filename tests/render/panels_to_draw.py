"""Panels the renderer tests draw: small, deterministic, with known cells."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from maskviz.core.arrays import BoolArray, ByteArray, FloatArray
from maskviz.core.panels.charts import Bars, Curve, CurveLine
from maskviz.core.panels.page import (
    HeadGrid,
    HeadTile,
    Heatmap,
    LegendEntry,
    MaskGrid,
    Matrix,
    Note,
    Page,
    Panel,
    Table,
    Token,
    TokenLines,
    TokenStrip,
    Tone,
)
from maskviz.core.rules.reasons import Reason, primary, shares
from maskviz.core.words import Scale

WORDS = ("[CLS]", "the", "quick", "brown", "fox", "jumps", "over", "a", "lazy", "dog", "and", "sleeps", "[SEP]")
FAMILY = "👩\u200d👩\u200d👧"
WILD = (
    "你好",
    FAMILY,
    "[bold red]x[/]",
    "$x$",
    "a_b$",
    "\\alpha",
    "\x1b[31mred",
    "a\nb",
    ":smile:",
    " the",
    "\u202eevil",
    "",
)

# Anything a tokenizer can produce, with what is dangerous to a terminal, to rich or to matplotlib made likely.
wild_text = st.one_of(
    st.sampled_from(WILD),
    st.text(max_size=12),
    st.text(alphabet="[]/\\$_^{}<>&\x1b\x00\u200d\ufe0f你👧é", max_size=12),
)


def tokens(count: int, padding: int = 0) -> tuple[Token, ...]:
    """Return `count` tokens, the last `padding` of them padding."""
    real = [Token(WORDS[n % len(WORDS)], "special" if n % len(WORDS) == 0 else "text") for n in range(count - padding)]
    return (*real, *[Token("[PAD]", "padding")] * padding)


def reasons(count: int, window: int | None = None, padding: int = 0) -> ByteArray:
    """Return uint8 [query, key] reason bits of a causal mask, with a window and padding at the right."""
    query, key = np.indices((count, count))
    bits = np.where(key > query, Reason.FUTURE, 0)
    if window is not None:
        bits |= np.where(query - key >= window, Reason.WINDOW, 0)
    bits[:, count - padding :] |= Reason.PADDING
    return bits.astype(np.uint8)


def mask(bits: ByteArray, title: str = "layers 0-3", padding: int = 0, caption: str = "causal") -> MaskGrid:
    """Return a mask over as many tokens as there are rows."""
    count = len(bits)
    legend = tuple(LegendEntry(int(reason), reason.word, share) for reason, share in shares(bits).items())
    names = tokens(count, padding)
    return MaskGrid(title, caption, primary(bits), names, names, np.arange(count) >= count - padding, legend)


def pattern(count: int, blocked: BoolArray) -> FloatArray:
    """Return float32 [query, key] rows that add up to 1, falling off from the diagonal."""
    query, key = np.indices((count, count))
    scores = np.where(blocked, -np.inf, -0.7 * abs(query - 1 - key))
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    rows: FloatArray = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return rows


def heatmap(count: int = 8, scale: Scale = Scale.LINEAR) -> Heatmap:
    """Return a causal map."""
    blocked = reasons(count) != 0
    names = tokens(count)
    return Heatmap(
        "layer 0 head 1",
        "attends to the token before",
        pattern(count, blocked),
        blocked,
        names,
        names,
        np.zeros(count, dtype=np.bool_),
        scale,
        floor=1e-3,
    )


def open_map(values: object, blocked: object = False) -> Heatmap:
    """Return a map of the given [query, key] values, blocked where said; by default nowhere."""
    exact = np.asarray(values, dtype=np.float32)
    stopped = np.broadcast_to(np.asarray(blocked, dtype=np.bool_), exact.shape)
    queries, keys = tokens(exact.shape[0]), tokens(exact.shape[1])
    return Heatmap("map", "", exact, stopped, queries, keys, np.zeros(len(queries), dtype=np.bool_))


def open_mask(queries: tuple[Token, ...], keys: tuple[Token, ...]) -> MaskGrid:
    """Return a mask that blocks nothing."""
    codes = np.zeros((len(queries), len(keys)), dtype=np.uint8)
    return MaskGrid("open mask", "", codes, queries, keys, np.zeros(len(queries), dtype=np.bool_), ())


def head_grid(layers: int, heads: int, count: int, gates: dict[tuple[int, int], float] | None = None) -> HeadGrid:
    """Return causal maps of all heads; gates by (layer, head)."""
    blocked = reasons(count) != 0
    values, nobody = pattern(count, blocked), np.zeros(count, dtype=np.bool_)
    places = [(layer, head) for layer in range(layers) for head in range(heads)]
    return HeadGrid(
        "all heads",
        "before the gate",
        tuple(f"layer {layer}" for layer in range(layers)),
        tuple(f"head {head}" for head in range(heads)),
        tuple(HeadTile(*place, values, blocked, nobody, (gates or {}).get(place)) for place in places),
    )


def matrix() -> Matrix:
    """Return three layers of four heads with one hole."""
    values = np.linspace(0, 0.3, 12, dtype=np.float32).reshape(3, 4)
    values[1, 2] = np.nan
    rows, columns = ("layer 0", "layer 1", "layer 2"), ("head 0", "head 1", "head 2", "head 3")
    return Matrix("importance", "loss without the head", values, rows, columns, 0.3, "rise of the loss")


def signed_matrix(rows: int = 3, columns: int = 4) -> Matrix:
    """Return numbers of both signs from 1e-5 to 10; the first is exactly zero, the last is not there."""
    place = np.arange(rows * columns)
    values = (-1.0) ** place * 10.0 ** (place % 7 - 5) * 1.234
    values[0], values[-1] = 0, np.nan
    return Matrix(
        "importance",
        "loss without the head",
        values.reshape(rows, columns).astype(np.float32),
        tuple(f"layer {row}" for row in range(rows)),
        tuple(f"head {column}" for column in range(columns)),
        10.0,
        "rise of the loss",
        centred=True,
    )


def bars() -> Bars:
    """Return four bars, the last below zero, the second without an interval."""
    values = np.array([0.5, 0.25, 0.004, -0.25], dtype=np.float32)
    low, high = values - np.float32(0.1), values + np.float32(0.2)
    low[1] = high[1] = np.nan
    names = ("3.7", "3.10", "[bold]0.1[/]", "cross 1.0")
    return Bars("heads that matter", "95 % over 8 texts; 5 more are not shown", names, values, "nats", low, high)


def curve() -> Curve:
    """Return three lines over thirteen points: one with a gap, one with a band, and a level."""
    x = np.arange(0, 37, 3, dtype=np.float32)
    gap = (3 + np.sqrt(x)).astype(np.float32)
    gap[5] = np.nan
    straight = (3 + x / 20).astype(np.float32)
    lines = (
        CurveLine("by importance", (3 + 0.0025 * x**2).astype(np.float32)),
        CurveLine("by norm", gap),
        CurveLine("at random", straight, straight - np.float32(0.5), straight + np.float32(1.5)),
    )
    return Curve("pruning", "least important first", x, "heads silenced", "loss in nats", lines, 3.0, "all heads")


def table() -> Table:
    """Return a table with text that looks like markup and a cell too long for a line."""
    rows = (("0-3", "causal ∧ window(4)", "46.7%"), ("4", "[bold]not markup[/bold], " + "a long rule " * 8, "5.0%"))
    return Table("What blocks", ("layer", "rule", "blocked>"), rows, "Shares of all cells.")


def page(*panels: Panel, title: str = "Attention masks", subtitle: str = "demo:bert") -> Page:
    """Return a page with metadata."""
    return Page(title, subtitle, panels, {"model": "demo:bert", "text": "the quick brown fox"})


def wild_page(text: str) -> Page:
    """Return a page with one panel of each kind and `text` in every string of each."""
    names = (Token(text), Token("b"), Token(text, "padding"))
    bits = np.array([[0, 2, 3], [0, 0, 3], [0, 0, 1]], dtype=np.uint8)
    last = np.array([False, False, True])
    values = np.array([[0.5, np.nan, 0], [0.25, 0.75, 0], [0, 0, 1]], dtype=np.float32)
    return Page(
        text,
        text,
        (
            Note(text, Tone.WARNING),
            TokenStrip(text, (names, ()), (text, "")),
            Table(text, (text, text + ">"), ((text, "1"),), text),
            MaskGrid(text, text, primary(bits), names, names, last, (LegendEntry(2, text, 0.2),)),
            Heatmap(text, text, values, bits != 0, names, names, last, unit=text),
            TokenLines(Heatmap(text, text, values, bits != 0, names, names, last, unit=text)),
            HeadGrid(text, text, (text,), (text, "head 1"), (HeadTile(0, 0, values, bits != 0, last, 0.5),)),
            Matrix(text, text, values, (text, text, text), (text, text, text), 1.0, text),
            Matrix(text, text, -values, (text, text, text), (text, text, text), 1.0, text, centred=True),
            Bars(text, text, (text, text, "b"), values[0], text, values[0] - 1, values[0] + 1),
            Curve(text, text, np.arange(3, dtype=np.float32), text, text, (CurveLine(text, values[0]),), 1.0, text),
        ),
        {text: text},
    )
