"""What an attention backend is handed for each call of a run, and what it makes of it."""

from __future__ import annotations

from dataclasses import dataclass

from maskviz.core.arrays import IntArray
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import AttentionCall, Mask
from maskviz.core.words import Backend


@dataclass(frozen=True, slots=True, eq=False)
class HandedCall:
    """One attention call of a run, and what a backend is handed for it.

    Attributes:
        call: The call, with the mask that is meant.
        words: What is handed over, or why nothing is.
        masked: Whether a mask is among it.
        mask: What the backend lets through with it; None where that cannot be said.
    """

    call: AttentionCall
    words: str
    masked: bool
    mask: Mask | None


@dataclass(frozen=True, slots=True, eq=False)
class HandOver:
    """What a backend is handed in one run.

    Attributes:
        backend: The backend asked about.
        calls: One for each call of the run, in order; empty where transformers refuses the backend.
        refusal: Why it refuses, in its words; else "".
        notes: Sentences the reader must see beside it.
    """

    backend: Backend
    calls: tuple[HandedCall, ...]
    refusal: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class HandedGroup:
    """Calls that are handed the same and mean the same.

    Attributes:
        calls: The calls, of one stack.
        words: What they are handed.
        masked: Whether a mask is among it.
        mask: What the backend lets through; None where that cannot be said.
        added: int64 [cell, 4], (batch, head, query, key) of cells it lets through and the mask that is meant does not,
            on rows of real queries.
        lost: int64 [cell, 4], of cells it blocks that are meant to be visible.
        cells: Cells on rows of real queries, of one head where all heads agree.
        reasons: Those for which the mask that is meant blocks what is added, and those for which the backend blocks
            what is lost.
        why: In words, the reasons for which the mask that is meant blocks what is added; and the exceptions that let
            through what is lost, or the reasons for which the backend blocks it.
    """

    calls: tuple[AttentionCall, ...]
    words: str
    masked: bool
    mask: Mask | None
    added: IntArray
    lost: IntArray
    cells: int
    reasons: Reason
    why: tuple[str, ...] = ()

    @property
    def expressed(self) -> bool | None:
        """Whether the backend lets through what is meant and nothing else; None where that cannot be said."""
        return None if self.mask is None else not len(self.added) and not len(self.lost)
