"""What differs between two runs: counted by a loop over the cells, and on runs whose difference is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from maskviz.analyse.diff import compare_cells, compare_runs, read_alike
from maskviz.core.arrays import Content
from maskviz.core.errors import CannotTraceError
from maskviz.core.results.diff import CellIn
from maskviz.core.rules.algebra import Grid, Rule, all_of
from maskviz.core.rules.kinds import Causal, Padding, Window
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import AttentionCall, Batch, Mask, ModelCard, Trace
from maskviz.core.words import Role, Stack
from tests.rules_to_fold import rules

LENGTH = 8
KEEP = np.array([[True] * LENGTH, [True] * 5 + [False] * 3])
NAMES = ("one", "other")


def run_of(*layers: Rule, stack: Stack = Stack.DECODER, heads: int = 2, words: str = "abcdefgh") -> Trace:
    """A run of two texts, the second padded, with even attention over what is visible."""
    roles = tuple(tuple(Role.TEXT if kept else Role.PADDING for kept in row) for row in KEEP)
    batch = Batch(np.tile(np.arange(LENGTH), (2, 1)), KEEP, (tuple(words), tuple(words)), roles, ("x", "y"))
    calls = []
    for layer, rule in enumerate(layers):
        at = Grid.of(2, LENGTH, LENGTH)
        visible = np.broadcast_to(rule.visible(at), at.shape).copy()
        spread = visible / np.maximum(visible.sum(-1, keepdims=True), 1)
        pattern = np.repeat(spread, heads, axis=1).astype(np.float32)
        calls.append(AttentionCall(stack, layer, f"l.{layer}", heads, heads, Mask.explained(visible, rule), pattern))
    card = ModelCard("m", "M", "m", False, (len(layers),), (heads,), (heads,))
    return Trace(card, batch, tuple(calls))


@settings(max_examples=40, deadline=None)
@given(rules(batch=2), rules(batch=2))
def test_cells_and_reasons_are_those_a_loop_counts(first: Rule, second: Rule) -> None:
    (mask,) = compare_runs(run_of(first), run_of(second), NAMES).masks
    one, other = run_of(first).calls[0], run_of(second).calls[0]
    counts, why_a, why_b = dict.fromkeys(CellIn, 0), dict.fromkeys(Reason, 0), dict.fromkeys(Reason, 0)
    for row in range(2):
        for query in range(LENGTH):
            for key in range(LENGTH):
                if not KEEP[row, query]:
                    continue
                ours, theirs = (bool(call.mask.visible[row, 0, query, key]) for call in (one, other))
                kind = {(0, 0): CellIn.NEITHER, (1, 0): CellIn.ONLY_A, (0, 1): CellIn.ONLY_B, (1, 1): CellIn.BOTH}
                counts[kind[ours, theirs]] += 1
                for reason in Reason:
                    if ours and not theirs:
                        why_a[reason] += bool(other.mask.reasons[row, 0, query, key] & reason)
                    if theirs and not ours:
                        why_b[reason] += bool(one.mask.reasons[row, 0, query, key] & reason)
    assert {kind: mask.count(kind) for kind in CellIn} == counts
    assert mask.why_a == {reason: count for reason, count in why_a.items() if count}
    assert mask.why_b == {reason: count for reason, count in why_b.items() if count}
    assert mask.differs == (counts[CellIn.ONLY_A] + counts[CellIn.ONLY_B] > 0)


def test_attention_on_what_only_one_lets_through_is_what_a_loop_adds_up() -> None:
    a, b = run_of(Causal()), run_of(all_of(Causal(), Window(3)))
    (mask,) = compare_runs(a, b, NAMES).masks
    pattern = a.calls[0].pattern
    assert pattern is not None
    shares = [
        sum(float(pattern[row, head, query, key]) for key in range(LENGTH) if query - key >= 3)
        for row in range(2)
        for head in range(2)
        for query in range(LENGTH)
        if KEEP[row, query]
    ]
    assert mask.mass_a == pytest.approx(np.mean(shares))
    assert mask.mass_b == 0


def test_layers_that_differ_in_the_same_way_are_one() -> None:
    windowed = all_of(Causal(), Window(3))
    diff = compare_runs(run_of(Causal(), Causal(), Causal()), run_of(windowed, Causal(), windowed), NAMES)
    assert [[call.layer for call in mask.calls_a] for mask in diff.masks] == [[0, 2], [1]]
    assert [mask.differs for mask in diff.masks] == [True, False]
    assert diff.differs


def test_runs_of_different_depth_are_paired_by_their_different_masks() -> None:
    windowed = all_of(Causal(), Window(3))
    diff = compare_runs(run_of(Causal(), Causal(), windowed), run_of(Causal(), windowed), NAMES)
    assert not diff.differs
    assert any("different masks are paired" in note for note in diff.notes)
    longer = compare_runs(run_of(Causal(), Causal(), windowed), run_of(Causal()), NAMES)
    assert longer.unpaired == ("only A has another mask, that of decoder layer 2",)
    assert longer.differs
    assert not any(mask.differs for mask in longer.masks)


def test_an_encoder_is_paired_with_a_decoder() -> None:
    diff = compare_runs(run_of(Window(8), stack=Stack.ENCODER), run_of(Causal()), NAMES)
    assert diff.masks[0].count(CellIn.ONLY_A) == 28 + 10 + 15
    assert diff.unpaired == ()


def test_the_first_token_that_differs_is_named() -> None:
    a = run_of(Causal())
    b = run_of(Causal(), words="abXdefgh")
    other = replace(b.batch, ids=np.where(np.arange(LENGTH) == 2, 99, b.batch.ids))
    with pytest.raises(CannotTraceError, match="token 2 of text 1 is 'c' in A and 'X' in B") as error:
        compare_runs(a, replace(b, batch=other), NAMES)
    assert error.value.hint
    with pytest.raises(CannotTraceError, match="texts"):
        compare_runs(a, replace(a, batch=_first_row(a.batch)), NAMES)


def _first_row(batch: Batch) -> Batch:
    return Batch(batch.ids[:1], batch.keep[:1], batch.tokens[:1], batch.roles[:1], batch.texts[:1])


def test_the_same_ids_of_another_vocabulary_have_no_outputs_to_compare() -> None:
    a, b = run_of(Causal()), run_of(Causal(), words="abXdefgh")
    assert read_alike(a, a)
    assert not read_alike(a, b)
    assert any("no outputs are compared" in note for note in compare_runs(a, b, NAMES).notes)


def test_rows_of_padding_are_not_counted() -> None:
    keep = Padding(Content(KEEP, np.bool_))
    diff = compare_runs(run_of(keep), run_of(all_of(keep, Window(7))), NAMES)
    # Only query 7 of the first text looks back seven tokens; in the second it is padding.
    assert diff.masks[0].count(CellIn.ONLY_A) == 1


def test_masks_alone_are_laid_on_each_other() -> None:
    lower = np.tril(np.ones((3, 3), np.bool_))[None, None]
    (mask,) = compare_cells(lower, np.ones((2, 1, 3, 3), np.bool_), NAMES).masks
    assert mask.count(CellIn.ONLY_B) == 6
    assert mask.count(CellIn.BOTH) == 12
    for wrong in (np.ones((1, 1, 4, 4), np.bool_), np.ones((1, 1, 1, 3), np.bool_)):
        with pytest.raises(CannotTraceError, match="do not fit"):
            compare_cells(lower, wrong, NAMES)


def test_a_comparison_of_a_run_with_itself_finds_nothing() -> None:
    diff = compare_runs(run_of(Causal()), run_of(Causal()), NAMES)
    assert not diff.differs
    assert diff.change is not None
    assert float(diff.change.patterns[0].moved.max()) == 0
