"""What an attention backend was handed in a run, call by call and in groups that are alike."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from maskviz.core.arrays import BoolArray, Content, IntArray
from maskviz.core.rules.algebra import all_of
from maskviz.core.rules.kinds import Document
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import AttentionCall, Mask, Trace
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


def handed_groups(trace: Trace, over: HandOver) -> tuple[HandedGroup, ...]:
    """Group the calls of a run that are handed the same and mean the same, in the order they first ran."""
    groups: list[list[HandedCall]] = []
    for one in over.calls:
        for group in groups:
            if _alike(group[0], one):
                group.append(one)
                break
        else:
            groups.append([one])
    return tuple(_compared(trace, group) for group in groups)


def _alike(one: HandedCall, other: HandedCall) -> bool:
    if one.call.stack is not other.call.stack or one.words != other.words:
        return False
    if (one.mask is None) != (other.mask is None) or not one.call.mask.same_as(other.call.mask):
        return False
    return one.mask is None or other.mask is None or np.array_equal(one.mask.visible, other.mask.visible)


def _compared(trace: Trace, group: list[HandedCall]) -> HandedGroup:
    first = group[0]
    calls = tuple(one.call for one in group)
    meant, handed = first.call.mask.visible, first.mask
    rows = trace.real_queries(first.call)[:, None, :, None]
    none = np.zeros((0, 4), np.int64)
    if handed is None:
        return HandedGroup(calls, first.words, first.masked, None, none, none, 0, Reason(0))
    handed = _named(trace, first.call.mask, handed)
    asked = np.broadcast_to(rows, np.broadcast_shapes(meant.shape, handed.visible.shape))
    added, lost = handed.visible & ~meant & asked, meant & ~handed.visible & asked
    of_added, of_lost = _reasons(first.call.mask, added), _reasons(handed, lost)
    said = _exceptions(first.call.mask, lost) or _left_out(handed, lost) or _words(of_lost)
    why = tuple(dict.fromkeys((*_words(of_added), *said)))
    cells = np.argwhere(added), np.argwhere(lost), int(asked.sum())
    return HandedGroup(calls, first.words, first.masked, handed, *cells, of_added | of_lost, why)


def _named(trace: Trace, meant: Mask, handed: Mask) -> Mask:
    """The mask under a rule that explains it: its own, the one that is meant, or that within packed texts."""
    rules = [meant.rule]
    documents = trace.batch.documents
    if documents is not None:
        rules.append(all_of(meant.rule, Document(Content(documents, np.int64))))
    for rule in rules:
        # Packed texts of one length look like chunks, and are none.
        if (handed.rule.readable and documents is None) or not rule.readable:
            continue
        if (rule.visible(handed.grid) == handed.visible).all():
            return Mask.explained(handed.visible, rule, query_offset=handed.query_offset, delivery=handed.delivery)
    return handed


def _reasons(mask: Mask, cells: BoolArray) -> Reason:
    """The reasons a mask has for blocking all of some cells, or else for blocking one of them."""
    reasons = np.broadcast_to(mask.reasons, cells.shape)[cells]
    each = Reason(int(np.bitwise_and.reduce(reasons)) if len(reasons) else 0)
    return each or Reason(int(np.bitwise_or.reduce(reasons)))


def _words(reasons: Reason) -> tuple[str, ...]:
    return tuple(reason.word for reason in reasons)


def _exceptions(mask: Mask, cells: BoolArray) -> tuple[str, ...]:
    """The exceptions of a mask's rule that let some cells through."""
    exceptions = [leaf for leaf in mask.rule.leaves() if leaf.exception and leaf.readable]
    return tuple(str(leaf) for leaf in exceptions if bool((leaf.visible(mask.grid) & cells).any()))


def _left_out(handed: Mask, lost: BoolArray) -> tuple[str, ...]:
    """A phrase where all that is lost is lost to queries that see nothing."""
    seeing = np.broadcast_to(handed.visible.any(axis=-1, keepdims=True), lost.shape)
    return ("queries left out",) if lost.any() and not (lost & seeing).any() else ()
