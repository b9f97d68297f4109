"""Examples for the rules about mask files, with what the framework makes of them where a rule asks for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from maskviz.conventions.trial import tried
from maskviz.core.arrays import AnyArray, BoolArray
from maskviz.core.checks.case import Case, GivenArray, Sizes
from maskviz.core.words import Dialect
from tests.analyse.lints.cases import Example, rows

D = Dialect
_TOKENS = np.arange(4)
CAUSAL: BoolArray = _TOKENS[None, :] <= _TOKENS[:, None]
PADDED = CAUSAL & (_TOKENS < 3)[None, :]
LEFT = CAUSAL & (_TOKENS > 0)[None, :]
LEAST = float(np.finfo(np.float32).min)


def given(values: Any, dialect: Dialect, visible: Any = None, run_dtype: str = "", **sizes: int) -> Case:
    """A mask file as a case; `visible` [query, key] or of four axes, else the values themselves; tried."""
    values = np.asarray(values)
    shown = values if visible is None else np.asarray(visible)
    cells = None
    if shown.dtype.kind == "b" and shown.ndim in (2, 4):
        cells = shown if shown.ndim == 4 else shown[:, None, None, :] if dialect in _KEYS else shown[None, None]
    array = GivenArray("mask.npy", values, str(values.dtype), dialect, Sizes(**sizes), run_dtype, cells)
    return Case(array=tried(array))


_KEYS = (D.HF_2D, D.TORCH_PADDING)


def additive(visible: BoolArray, blocked: float = LEAST, **more: Any) -> Case:
    """An additive 4-D mask."""
    values = np.where(visible, 0.0, blocked).astype(np.float32)
    return given(values[None, None], D.HF_4D, np.asarray(values > -9e3), **more)


def module(visible: BoolArray, **more: Any) -> Case:
    """A boolean mask for nn.MultiheadAttention, True = blocked."""
    return given(~visible, D.TORCH_MHA, visible, **more)


_TWO_ROWS: AnyArray = np.stack([CAUSAL, PADDED])


_SQUARE: AnyArray = np.stack([CAUSAL, PADDED & (_TOKENS < 3)[:, None]])


def by_head(order: str, masks: AnyArray = _TWO_ROWS) -> Case:
    """Two rows for two heads, in the order of `repeat` or of `repeat_interleave`."""
    masks = np.tile(masks, (2, 1, 1)) if order == "repeat" else np.repeat(masks, 2, axis=0)
    return given(~masks, D.TORCH_MHA, masks.reshape(2, 2, 4, 4), heads=2, batch=2)


def shown_by_head(order: str) -> AnyArray:
    """The same four masks as cells [batch, head, query, key], as torch reads them."""
    masks = np.tile(_TWO_ROWS, (2, 1, 1)) if order == "repeat" else np.repeat(_TWO_ROWS, 2, axis=0)
    return masks.reshape(2, 2, 4, 4)


def window_and_all() -> AnyArray:
    """Two heads, the first with a window of two."""
    near = _TOKENS[:, None] - _TOKENS[None, :] < 2
    return np.stack([CAUSAL & near, CAUSAL])


def twice() -> AnyArray:
    """Causality and padding as additive masks, summed: -inf where both block."""
    with np.errstate(over="ignore"):
        return np.where(CAUSAL, 0, LEAST).astype(np.float32) + np.where(_TOKENS < 3, 0, LEAST).astype(np.float32)


def window(size: int) -> BoolArray:
    """A causal window of `size` keys over 8 tokens."""
    tokens = np.arange(8)
    distance = tokens[:, None] - tokens[None, :]
    return np.asarray((distance >= 0) & (distance < size))


_PADDED_ROWS = np.stack([CAUSAL, PADDED])[:, None]
# Encoder masks upside down: the first key is padding in the second row.
_ONE_HIDDEN = np.stack([np.zeros((4, 4), bool), np.broadcast_to(_TOKENS == 0, (4, 4))])[:, None]
_WEIGHTS = np.full((1, 2, 4, 4), 0.25, np.float32)
_BLANK = _WEIGHTS * np.array([1, 0], np.float32)[None, :, None, None]
_ROW_THAT_SEES_NOTHING = CAUSAL & (_TOKENS != 1)[:, None]

# [batch, 1, 1, key], True = padding, handed to what attends where True; no row keeps all.
_KEPT_WRONGLY = (np.array([3, 4])[:, None] <= _TOKENS)[:, None, None]

EXAMPLES = (
    Example(
        "T1",
        "causal upside down",
        module(~CAUSAL & ~np.eye(4, dtype=bool), heads=1),
        module(CAUSAL, heads=1),
        ("N1", "N2"),
    ),
    Example("T1", "for sdpa", given(~CAUSAL, D.SDPA), given(CAUSAL, D.SDPA), ("N1",)),
    Example("T1", "causal and padded, for sdpa", given(~_PADDED_ROWS, D.SDPA), given(~_ONE_HIDDEN, D.SDPA), ("N1",)),
    Example("T1", "a window, for sdpa", given(~window(3), D.SDPA), given(~np.eye(4, dtype=bool), D.SDPA)),
    Example(
        "T1",
        "padding kept, text hidden",
        Case(
            array=given([[0, 0, 1, 1]], D.HF_2D, [[False, False, True, True]]).array,
            batch=rows("5 6 0 0", keep=("1100",)),
        ),
        Case(
            array=given([[1, 1, 0, 0]], D.HF_2D, [[True, True, False, False]]).array,
            batch=rows("5 6 0 0", keep=("1100",)),
        ),
    ),
    Example(
        "T1",
        "padding upside down, right",
        given([[1, 1, 1, 0], [1, 1, 1, 1]], D.TORCH_PADDING, [[False, False, False, True], [False] * 4]),
        given([[0, 0, 0, 1], [0, 0, 0, 0]], D.TORCH_PADDING, [[True, True, True, False], [True] * 4]),
    ),
    Example(
        "T1",
        "padding upside down, left",
        given([[1, 1, 0], [0, 0, 0], [1, 0, 0]], D.HF_2D, [[True, True, False], [False] * 3, [True, False, False]]),
        # padding on the left, as it may be
        given([[0, 0, 1], [1, 1, 1], [0, 1, 1]], D.HF_2D, [[False, False, True], [True] * 3, [False, True, True]]),
    ),
    Example(
        "T1",
        "padding upside down, of four axes",
        given(_KEPT_WRONGLY, D.SDPA),
        given(~_KEPT_WRONGLY, D.SDPA),
    ),
    Example(
        "T2",
        "ones keep",
        given(CAUSAL[None, None].astype(np.float32), D.HF_4D, np.ones((4, 4), bool)),
        additive(CAUSAL),
    ),
    Example("T3", "eager", given(CAUSAL[None, None], D.HF_4D), given(CAUSAL[None, None], D.SDPA)),
    Example("T4", "sdpa", given(CAUSAL[None, None].astype(np.int64), D.SDPA), given(CAUSAL[None, None], D.SDPA)),
    Example("T4", "eager", given(CAUSAL[None, None].astype(np.int64), D.HF_4D), additive(CAUSAL)),
    Example("T5", "repeat", by_head("repeat"), by_head("repeat_interleave")),
    Example(
        "T5", "padding hidden from queries too", by_head("repeat", _SQUARE), by_head("repeat_interleave"), ("N1", "N2")
    ),
    Example(
        "T5",
        "heads nobody named",
        given(~np.tile(_TWO_ROWS, (2, 1, 1)), D.TORCH_MHA, shown_by_head("repeat")),
        given(~np.repeat(_TWO_ROWS, 2, axis=0), D.TORCH_MHA, shown_by_head("repeat_interleave")),
    ),
    Example(
        "T5",
        "heads with masks of their own",
        by_head("repeat"),
        given(~np.tile(window_and_all(), (2, 1, 1)), D.TORCH_MHA, np.stack([window_and_all()] * 2), heads=2, batch=2),
    ),
    Example(
        "T6",
        "as many rows as heads",
        given(_TWO_ROWS, D.SDPA, _TWO_ROWS[:, None], heads=2, batch=2),
        given(_TWO_ROWS[:, None], D.SDPA, heads=2, batch=2),
    ),
    Example(
        "T6",
        "a mask for each head",
        given(_TWO_ROWS, D.SDPA, _TWO_ROWS[:, None], heads=2, batch=2),
        given(_TWO_ROWS, D.SDPA, _TWO_ROWS[:, None], heads=2),
    ),
    Example("T7", "no head axis", given(_WEIGHTS[:, 0], D.WEIGHTS, heads=2), given(_WEIGHTS, D.WEIGHTS, heads=2)),
    Example("T8", "four axes", given(CAUSAL[None, None], D.KERAS), given(CAUSAL[None], D.KERAS, CAUSAL)),
    Example(
        "T8",
        "additive",
        given(np.where(CAUSAL, 0, -1e9)[None], D.KERAS, np.ones((4, 4), bool)),
        given(CAUSAL[None].astype(np.float32), D.KERAS, CAUSAL),
    ),
    Example("T9", "a triangle from the first key", given(CAUSAL[:2], D.SDPA), given(CAUSAL[2:], D.SDPA)),
    Example("T9", "one query", given(CAUSAL[:1], D.SDPA, queries=1), given(CAUSAL[3:], D.SDPA, queries=1)),
    Example("T10", "other keys", additive(CAUSAL, queries=4, keys=6), additive(CAUSAL[2:], queries=2, keys=4)),
    Example(
        "T10",
        "no head axis for nn.MultiheadAttention",
        given(~_TWO_ROWS, D.TORCH_MHA, heads=4, batch=2),
        given(
            np.repeat(~_TWO_ROWS, 4, axis=0), D.TORCH_MHA, np.repeat(_TWO_ROWS[:, None], 4, axis=1), heads=4, batch=2
        ),
    ),
    Example(
        "P6", "nothing kept", given([[0, 0]], D.HF_2D, [[False, False]]), given([[0, 1]], D.HF_2D, [[False, True]])
    ),
    # The longest text keeps all its tokens: the other row is empty, and the mask is the right way round.
    Example(
        "P6",
        "a row of nothing beside a whole one",
        given([[0, 0], [1, 1]], D.HF_2D, [[False, False], [True, True]]),
        given([[1, 0], [1, 1]], D.HF_2D, [[True, False], [True, True]]),
    ),
    Example("P6", "no text", given([[0, 0], [1, 2]], D.SEQUENCE_NUMBERS), given([[1, 0], [1, 2]], D.SEQUENCE_NUMBERS)),
    Example(
        "P7",
        "sequence numbers of another length",
        given([[1, 1, 2]], D.SEQUENCE_NUMBERS, keys=4),
        given([[1, 1, 2]], D.SEQUENCE_NUMBERS, keys=3),
    ),
    Example("T12", "not from 0", given([3, 5, 10], D.CU_SEQLENS), given([0, 3, 5, 10], D.CU_SEQLENS)),
    Example("T12", "lengths instead", given([0, 3, 2, 5], D.CU_SEQLENS), given([0, 3, 5, 10], D.CU_SEQLENS)),
    Example("T12", "a text of no token", given([0, 3, 3, 5], D.CU_SEQLENS), given([0, 3, 4, 5], D.CU_SEQLENS)),
    Example("T12", "another end", given([0, 3, 5], D.CU_SEQLENS, keys=6), given([0, 3, 5], D.CU_SEQLENS, keys=5)),
    Example(
        "P7",
        "a hole",
        given([[1, 0, 1]], D.HF_2D, [[True, False, True]]),
        given([[0, 1, 1]], D.HF_2D, [[False, True, True]]),
    ),
    Example(
        "P7",
        "another length",
        given([[1, 1]], D.HF_2D, [[True, True]], keys=3),
        given([[1, 1]], D.HF_2D, [[True, True]], keys=2),
    ),
    Example(
        "N1",
        "a query in the middle",
        given(_ROW_THAT_SEES_NOTHING, D.SDPA),
        given(LEFT, D.SDPA),
    ),
    Example("N1", "padding that becomes NaN", module(LEFT), given(LEFT, D.SDPA), ("N2",)),
    Example("N3", "twice", given(twice()[None, None], D.HF_4D, PADDED), additive(PADDED)),
    Example("N3", "all -inf", given(twice()[None, None], D.HF_4D, PADDED), additive(PADDED, blocked=-np.inf)),
    Example(
        "N6", "not a number", given(np.where(CAUSAL, 0, np.nan).astype(np.float32), D.HF_4D), additive(CAUSAL, -np.inf)
    ),
    Example(
        "N6", "in weights", given(np.full((1, 2, 4, 4), np.nan, np.float32), D.WEIGHTS), given(_WEIGHTS, D.WEIGHTS)
    ),
    Example(
        "N4",
        "too weak",
        given(np.where(CAUSAL, 0, -10.0).astype(np.float32), D.HF_4D, np.ones((4, 4), bool)),
        additive(CAUSAL, -1e4),
    ),
    Example(
        "N4", "too large", additive(CAUSAL, -1e9, run_dtype="float16"), additive(CAUSAL, -1e9, run_dtype="float32")
    ),
    Example("L2", "one more", given(window(4), D.SDPA, window=3), given(window(3), D.SDPA, window=3)),
    Example("L2", "one less", given(window(2), D.SDPA, window=3), given(window(3), D.SDPA, window=8)),
    Example("H2", "a blank head", given(_BLANK, D.WEIGHTS), given(_WEIGHTS, D.WEIGHTS)),
)
