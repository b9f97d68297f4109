"""Which axis of what was heard is what: rows and heads, found in the call itself, else in what the modules say."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, FloatArray
from maskviz.core.errors import CannotTraceError
from maskviz.core.machine import as_size
from maskviz.core.run.trace import Delivery
from maskviz.core.writing import parameter, plural
from maskviz.tracing.calling import usable_bytes
from maskviz.tracing.modules.heard import HeardCall


@dataclass(frozen=True, slots=True)
class Said:
    """What the user says of axes; each None where it is to be found.

    Attributes:
        rows: Rows of the batch.
        heads: Heads of each attention.
    """

    rows: int | None = None
    heads: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class LaidOut:
    """One call with its axes in order.

    Attributes:
        call: As it was heard.
        pattern: float32 [batch, head, query, key].
        visible: bool [batch, 1 or head, query, key].
        padding: bool [batch, key], False = padding, or None.
        key_heads: Key heads.
        windows: Windows of each row that attend within themselves alone, one after the other; 1 where there are none.
        guessed: What was taken for granted where two readings are left, a sentence; else "".
    """

    call: HeardCall
    pattern: FloatArray
    visible: BoolArray
    padding: BoolArray | None
    key_heads: int
    windows: int = 1
    guessed: str = ""

    @property
    def queries(self) -> int:
        """Queries of a row."""
        return int(self.pattern.shape[2])

    @property
    def keys(self) -> int:
        """Keys of a row."""
        return int(self.pattern.shape[3])


def rows_of(calls: Sequence[HeardCall], leading: int | None, said: Said) -> int:
    """Rows of the batch: what all calls agree on.

    Args:
        calls: What was heard.
        leading: The first axis of the first input that has several, or None.
        said: What the user says.

    Raises:
        CannotTraceError: the user says another number than the calls can have.
    """
    known = [rows for call in calls if (rows := _rows_said(call, said)) is not None]
    if said.rows is not None:
        wrong = next((rows for rows in known if rows % said.rows), None)
        if wrong is not None:
            raise CannotTraceError(
                f"an attention has {wrong} rows, which are not those of {said.rows}",
                f"leave out {parameter('batch_size')} to have it found",
            )
        return said.rows
    whole = [math.prod(call.weights.shape[:-2]) for call in calls]
    tokens = any(call.tokens_first and leading == call.weights.shape[-2] != call.rows for call in calls)
    if leading is not None and not tokens and all(rows % leading == 0 for rows in known or whole):
        return leading
    return reduce(math.gcd, known) if known else 1


def _rows_said(call: HeardCall, said: Said) -> int | None:
    """Rows, or windows of rows, that a call has by itself; None where rows and heads are one axis."""
    if call.rows is not None:
        return call.rows
    before = call.weights.shape[:-2]
    if len(before) == 1:
        heads = next((heads for heads in _heads_said(call, said) if before[0] % heads == 0), None)
        return None if heads is None else before[0] // heads
    return before[0] if before else 1


def _heads_said(call: HeardCall, said: Said) -> tuple[int, ...]:
    return call.hinted if said.heads is None else (said.heads,)


def laid_out(call: HeardCall, rows: int, said: Said) -> LaidOut:
    """A call as [batch, head, query, key].

    Rows that are several times those of the batch are windows of it (Swin): they stand one after the other, and no
    query sees a key of another.

    Args:
        call: What was heard.
        rows: Rows of the batch.
        said: What the user says of axes.

    Raises:
        CannotTraceError: no number of heads fits, or the windows of a row do not fit into memory as one square.
    """
    call = _heads_behind(call, rows, said)
    queries, keys = call.weights.shape[-2:]
    total = math.prod(call.weights.shape[:-2])
    if not call.weights.size:
        raise CannotTraceError(
            f"{call.module or 'an attention'} has weights {call.weights.shape}: nothing attends", "give a longer input"
        )
    if total % rows:
        raise CannotTraceError(
            f"{call.module or 'an attention'} has weights {call.weights.shape}: they are not of {plural(rows, 'row')}",
            f"say {parameter('batch_size')} or {parameter('num_heads')}",
        )
    heads, guessed = _heads_of(call, rows, said)
    windows = total // rows // heads
    pattern = call.weights.reshape(rows, windows, heads, queries, keys)
    visible = np.broadcast_to(_with_heads(call, rows * windows, heads), (rows * windows, heads, queries, keys))
    if (visible == visible[:, :1]).all():
        visible = visible[:, :1]
    visible = visible.reshape(rows, windows, -1, queries, keys)
    padding = None if call.padding is None else np.broadcast_to(call.padding, (rows * windows, keys))
    key_heads = call.key_heads if call.key_heads and heads % call.key_heads == 0 else heads
    return LaidOut(
        call,
        _side_by_side(call, pattern),
        _side_by_side(call, visible),
        None if padding is None else padding.reshape(rows, windows * keys),
        key_heads,
        windows,
        guessed,
    )


def _heads_behind(call: HeardCall, rows: int, said: Said) -> HeardCall:
    """A call on [row * head, window, query, key], as halo attention has it, on [row * window, head, query, key]."""
    before = call.weights.shape[:-2]
    if call.heads is not None or len(before) != 2:
        return call
    hints = _heads_said(call, said)
    heads = next((heads for heads in hints if before[0] == rows * heads), None)
    if heads is None or before[1] in hints:
        return call

    def moved(cells: AnyArray) -> AnyArray:
        whole = np.broadcast_to(cells, (*before, *cells.shape[-2:]))
        apart = whole.reshape(rows, heads, before[1], *cells.shape[-2:]).swapaxes(1, 2)
        return apart.reshape(rows * before[1], heads, *cells.shape[-2:])

    return replace(call, weights=moved(call.weights), visible=moved(call.visible), heads=heads)


def _heads_of(call: HeardCall, rows: int, said: Said) -> tuple[int, str]:
    """Heads of a call, and a sentence where that was taken for granted."""
    if call.heads is not None:
        return call.heads, ""
    before = call.weights.shape[:-2]
    rest = math.prod(before) // rows
    hints = [heads for heads in _heads_said(call, said) if rest % heads == 0]
    if said.heads is not None and not hints:
        raise CannotTraceError(
            f"{call.module or 'an attention'} has weights {call.weights.shape}, which are not of {said.heads} heads",
            f"leave out {parameter('num_heads')} to have it found",
        )
    if said.heads is not None:
        return said.heads, ""
    if len(before) == 2:
        return before[1], ""
    if len(before) < 2 and rest == 1:
        return 1, ""
    fitting = [heads for heads in hints if rest == heads or (len(before) > 2 and before[-1] == heads)]
    if fitting or hints:
        return (fitting or hints)[0], ""
    said_else = f"{parameter('num_heads')} says otherwise"
    return rest, f"{rest} of weights {call.weights.shape} are read as heads; {said_else}"


def _with_heads(call: HeardCall, rows: int, heads: int) -> BoolArray:
    """The visible cells of a call, broadcastable to [row, head, query, key]."""
    cells, wide = call.visible, call.weights.ndim
    if cells.ndim <= 2 or wide == 4:
        return cells
    whole = (*call.weights.shape[:-2], *cells.shape[-2:])
    return np.broadcast_to(cells, whole).reshape(rows, heads, *cells.shape[-2:])


def _side_by_side(call: HeardCall, windows: AnyArray) -> AnyArray:
    """Windows [batch, window, head, query, key] as one square of each row, nothing outside them."""
    rows, count, heads, queries, keys = windows.shape
    if count == 1:
        return windows.reshape(rows, heads, queries, keys)
    size = rows * heads * count**2 * queries * keys * windows.itemsize
    most = usable_bytes()
    if most is not None and size > most:
        raise CannotTraceError(
            f"{call.module}: {count} windows of {queries} x {keys} need {as_size(size)} as one square, "
            f"{as_size(most)} are to be used",
            "give a smaller input",
        )
    square = np.zeros((rows, heads, count, queries, count, keys), windows.dtype)
    for place in range(count):
        square[:, :, place, :, place] = windows[:, place]
    return square.reshape(rows, heads, count * queries, count * keys)


_CROSS = re.compile(r"cross|enc_?dec|encoder_attn|multihead_attn$|attn2$|context_attn", re.IGNORECASE)
_OWN = re.compile(r"self_?attn|self_attention|attn1$", re.IGNORECASE)


def is_cross(one: LaidOut) -> bool:
    """Whether keys are other tokens than queries: the call says it, or the name of its module, or its sizes do.

    Fewer queries than keys are a step behind a cache where the last query alone sees the last key, or the flag asks for
    a triangle.
    """
    if one.call.cross is not None:
        return one.call.cross
    if _OWN.search(one.call.module):
        return False
    if _CROSS.search(one.call.module):
        return True
    if one.queries == one.keys or one.call.delivery is Delivery.FLAG:
        return False
    return not (one.queries < one.keys and _ends_together(one.visible))


def _ends_together(visible: BoolArray) -> bool:
    last = np.asarray(visible[..., -1].any(axis=(0, 1)))
    return bool(len(last) > 1 and last[-1] and not last[:-1].any())
