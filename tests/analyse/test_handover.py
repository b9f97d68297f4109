"""What a backend departs in, against the same cells counted one by one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from maskviz.core.arrays import BoolArray, Content
from maskviz.core.rules.algebra import Everything, Opaque, all_of
from maskviz.core.rules.kinds import Causal, Chunk
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.handover import HandedCall, HandOver, handed_groups
from maskviz.core.run.trace import Mask, Trace
from maskviz.core.words import Backend
from tests.tracing.conftest import example_of


def handed(trace: Trace, visible: BoolArray | None, words: str = "no mask") -> HandOver:
    """A backend that is handed the same for every call, and lets the given cells through."""
    mask = None if visible is None else Mask.explained(visible, Everything() if visible.all() else Causal())
    return HandOver(Backend.SDPA, tuple(HandedCall(call, words, True, mask) for call in trace.calls))


def test_cells_are_counted_on_rows_of_real_queries_alone() -> None:
    trace = example_of("mistral").trace
    meant = trace.calls[0].mask.visible
    visible = np.random.default_rng(0).random(meant.shape) > 0.5
    (group,) = handed_groups(trace, handed(trace, visible))
    added, lost, cells = [], [], 0
    for row, keep in enumerate(trace.batch.keep):
        for query in range(9):
            for key in range(9):
                if not keep[query]:
                    continue
                cells += 1
                if visible[row, 0, query, key] and not meant[row, 0, query, key]:
                    added.append([row, 0, query, key])
                if meant[row, 0, query, key] and not visible[row, 0, query, key]:
                    lost.append([row, 0, query, key])
    assert (group.added.tolist(), group.lost.tolist(), group.cells) == (added, lost, cells)
    assert group.expressed is False
    assert len(group.calls) == 3


def test_what_is_added_is_named_by_the_reasons_for_which_it_is_blocked() -> None:
    trace = example_of("mistral").trace
    (group,) = handed_groups(trace, handed(trace, np.ones((3, 1, 9, 9), np.bool_)))
    assert group.why == ("padding", "future", "window")
    assert group.reasons == Reason.PADDING | Reason.FUTURE | Reason.WINDOW
    assert not len(group.lost)


def test_queries_that_are_left_out_are_named() -> None:
    trace = example_of("bert").trace
    visible = trace.calls[0].mask.visible.copy()
    visible[1, :, 5:] = False
    (group,) = handed_groups(trace, handed(trace, visible))
    assert group.why == ("queries left out",)
    assert len(group.lost) == 4 * 9


def test_calls_are_grouped_by_what_they_are_handed_and_what_they_mean() -> None:
    trace = example_of("gemma3").trace
    over = handed(trace, np.ones((3, 1, 9, 9), np.bool_))
    assert [[call.layer for call in group.calls] for group in handed_groups(trace, over)] == [[0], [1, 2]]
    last = replace(over.calls[2], words="something else")
    apart = handed_groups(trace, replace(over, calls=(*over.calls[:2], last)))
    assert [[call.layer for call in group.calls] for group in apart] == [[0], [1], [2]]


@pytest.mark.parametrize("visible", [None, example_of("llama").trace.calls[0].mask.visible])
def test_the_same_cells_are_expressed_and_none_are_not_known(visible: BoolArray | None) -> None:
    trace = example_of("llama").trace
    (group,) = handed_groups(trace, handed(trace, visible))
    assert group.expressed is (None if visible is None else True)
    assert group.why == ()


def test_a_mask_no_pattern_explains_is_named_by_the_rule_that_is_meant_where_it_is_the_same() -> None:
    trace = example_of("llama4").trace
    meant = trace.calls[0].mask
    unread = Mask.explained(meant.visible, Opaque("unrecognised"))
    over = HandOver(Backend.SDPA, tuple(HandedCall(call, "bool", True, unread) for call in trace.calls[:3]))
    (group,) = handed_groups(trace, over)
    assert group.mask is not None
    assert group.mask.rule == meant.rule


def test_packed_texts_of_one_length_are_documents_and_no_chunks() -> None:
    trace = example_of("llama").trace
    texts = np.broadcast_to(np.arange(9) // 3, trace.batch.ids.shape)
    trace = replace(trace, batch=replace(trace.batch, documents=texts))
    meant = trace.calls[0].mask
    cells = meant.visible & (texts[:, None, :, None] == texts[:, None, None, :])
    recognised = Mask.explained(cells, all_of(meant.rule, Chunk(3, Content(np.zeros(3), np.int64))))
    over = HandOver(Backend.FLASH, tuple(HandedCall(call, "texts", False, recognised) for call in trace.calls))
    (group,) = handed_groups(trace, over)
    assert group.mask is not None
    assert "document" in str(group.mask.rule) and "chunk" not in str(group.mask.rule)
