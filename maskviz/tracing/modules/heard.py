"""What is heard of one attention, before it is known which axis is what."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.checks.dialects import BLOCKED
from maskviz.core.run.trace import Delivery
from maskviz.core.words import Dialect

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(frozen=True, slots=True, eq=False)
class HandedMask:
    """A mask as it reached an attention.

    Attributes:
        name: What it is called there, such as "key_padding_mask".
        dialect: How it is read there.
        tensor: As it was handed over; a flag as the cells it stands for.
    """

    name: str
    dialect: Dialect
    tensor: torch.Tensor


@dataclass(frozen=True, slots=True, eq=False)
class HeardCall:
    """One attention as it ran.

    Attributes:
        number: How many were heard before it in the same pass: with the same inputs the same attention.
        module: Path of the module that ran it, "" for the outermost.
        how: What was heard, such as "nn.MultiheadAttention" or "softmax".
        weights: float32 [..., query, key] after softmax and before any gate; what stands before says `rows`, `heads`.
        visible: bool, broadcastable to the weights, True = may attend.
        rows: Rows of the batch where the call says them; None where they are among the leading axes.
        heads: Query heads where the call says them, or None.
        key_heads: Key heads where the call says them, or None.
        padding: bool [row, key], False = padding, where the call was handed one; else None.
        given: Whether a mask was handed over, beside padding.
        cross: Whether keys come from elsewhere than queries; None where the call does not say.
        delivery: How the mask came.
        hinted: Heads that the modules around say they have, nearest first.
        tokens_first: Whether the module takes [token, row, width], so that the first axis of an input may be tokens.
        masks: The masks it was handed.
    """

    number: int
    module: str
    how: str
    weights: FloatArray
    visible: BoolArray
    rows: int | None = None
    heads: int | None = None
    key_heads: int | None = None
    padding: BoolArray | None = None
    given: bool = False
    cross: bool | None = None
    delivery: Delivery = Delivery.ADDITIVE
    hinted: tuple[int, ...] = ()
    tokens_first: bool = False
    masks: tuple[HandedMask, ...] = ()


@dataclass(slots=True)
class Hearing:
    """What one pass of a module leaves behind, and the gates it is to apply.

    Attributes:
        gates: float32 [head] by the number of a call; a call that is not in it has none.
        calls: Attention, in the order it ran.
        running: Paths of the modules that run now, innermost last, each with the heads it says it has, or None.
        ran: Every module that ran, by path, with its class.
        rows_first: Paths of modules that say they take [row, token, width].
        seen: What was heard that is no attention, such as a softmax that no values follow, by how often.
        paused: Whether what runs now is not to be heard.
        thread: The thread that is listened to.
    """

    gates: Mapping[int, FloatArray] = field(default_factory=dict)
    calls: list[HeardCall] = field(default_factory=list)
    running: list[tuple[str, int | None]] = field(default_factory=list)
    ran: dict[str, str] = field(default_factory=dict)
    rows_first: set[str] = field(default_factory=set)
    seen: dict[str, int] = field(default_factory=dict)
    paused: bool = False
    thread: int = field(default_factory=get_ident)

    @property
    def deaf(self) -> bool:
        """Whether what runs now is none of the module that is listened to."""
        return self.paused or not self.running or get_ident() != self.thread

    @property
    def number(self) -> int:
        """Number of the next call."""
        return len(self.calls)

    def gate(self) -> FloatArray | None:
        """The gates of the next call, float32 [head]."""
        return self.gates.get(self.number)

    def where(self) -> str:
        """Path of the module that attends now: a softmax or a dropout that is a module of its own is none."""
        path = self.running[-1][0] if self.running else ""
        head, _, last = path.rpartition(".")
        return head if last.lower() in ("softmax", "attend", "dropout", "attn_drop", "attn_dropout") else path

    def hinted(self) -> tuple[int, ...]:
        """Heads that the modules running now say they have, innermost first."""
        return tuple(heads for _, heads in reversed(self.running) if heads is not None)

    def keep(self, how: str, weights: Any, visible: BoolArray, **known: Any) -> None:
        """Keep a call; `known` are further attributes of `HeardCall`."""
        self.calls.append(HeardCall(self.number, self.where(), how, weights, visible, hinted=self.hinted(), **known))

    def unused(self, what: str) -> None:
        """Something was heard that is no attention."""
        self.seen[what] = self.seen.get(what, 0) + 1

    @contextmanager
    def looking_away(self) -> Iterator[None]:
        """Hear nothing while the block runs."""
        before, self.paused = self.paused, True
        try:
            yield
        finally:
            self.paused = before


def gates_along(gate: FloatArray, leading: tuple[int, ...], like: torch.Tensor) -> torch.Tensor:
    """Gates [head] as factors on something [..., query, width or key], whose axes before those two are `leading`.

    Heads are the last axis, or the last few, or in one axis with the rows, in front.
    """
    factors = torch.as_tensor(np.array(gate), dtype=like.dtype, device=like.device)
    for place in range(1, len(leading) + 1):
        if math.prod(leading[-place:]) == len(gate):
            return factors.reshape(*leading[-place:], 1, 1)
    if leading and leading[0] % len(gate) == 0:
        return factors.repeat(leading[0] // len(gate)).reshape(leading[0], *(1 for _ in leading[1:]), 1, 1)
    return factors.reshape(())


# What modules call the number of their heads.
HEAD_NAMES = ("num_heads", "n_heads", "n_head", "nhead", "heads", "num_attention_heads", "nheads", "n_local_heads")


def heads_said(module: Any) -> int | None:
    """How many heads a module says it has; None where it says nothing that could be one."""
    for name in HEAD_NAMES:
        said = getattr(module, name, None)
        if type(said) is int and said > 0:
            return said
    return None


# Numbers that are added to scores and leave nothing of a weight, e^-50 < 1e-21, where no number lies between: Swin's
# windows add -100, and slopes that fall steadily (ALiBi) block nothing.
_LEAVES_NOTHING, _LEAVES_SOMETHING = -50.0, -25.0


def let_through(numbers: torch.Tensor) -> torch.Tensor:
    """bool, True = visible, of a mask that is added to scores."""
    low = numbers <= _LEAVES_NOTHING
    rest = numbers[~low]
    apart = bool(low.any()) and (not rest.numel() or bool(rest.min() > _LEAVES_SOMETHING))
    return ~low if apart else numbers > BLOCKED


def causal_cells(queries: int, keys: int) -> BoolArray:
    """bool [query, key] of torch's `is_causal`: the triangle begins top left, also where keys are more."""
    return np.tril(np.ones((queries, keys), np.bool_))
