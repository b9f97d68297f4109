"""Runs made by hand for the rules to look at."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from maskviz.core.arrays import BoolArray, Content
from maskviz.core.checks.case import Behaviour, Case, GivenBatch, ModelFacts
from maskviz.core.rules.algebra import Grid, Rule
from maskviz.core.rules.kinds import Padding
from maskviz.core.run.trace import AttentionCall, Batch, Mask, ModelCard, Trace
from maskviz.core.words import Role, Stack

DECODER = ModelFacts("GPT2LMHeadModel", "sdpa", predicts_next=True)
ENCODER = ModelFacts("BertForMaskedLM", "sdpa")


@dataclass(frozen=True, slots=True)
class Example:
    """A case that fell into a trap, and one that comes near it and did not.

    Attributes:
        id: The trap.
        name: What the two are about.
        caught, missed: The cases.
        also: What the same mistake falls into besides, in the order of the traps.
    """

    id: str
    name: str
    caught: Case
    missed: Case
    also: tuple[str, ...] = ()


def rows(*ids: str, keep: tuple[str, ...] = (), **more: Any) -> GivenBatch:
    """A batch of rows such as "5 6 0"; `keep` such as "110". Padding is 0, the end of a text 2."""
    kept = tuple(tuple(map(int, one)) for one in keep) or (None,) * len(ids)
    return GivenBatch(tuple(tuple(map(int, row.split())) for row in ids), kept, **{"pad_id": 0, "eos_id": 2, **more})


def side_of(keep: BoolArray, roles: tuple[tuple[Role, ...], ...] | None = None) -> Batch:
    """Tokens without meaning; keep False = padding."""
    named = tuple(tuple(Role.TEXT if one else Role.PADDING for one in row) for row in keep.tolist())
    tokens = tuple(tuple(map(str, range(keep.shape[1]))) for _ in keep)
    return Batch(np.where(keep, 5, 0), keep, tokens, roles or named)


def kept(*rows: str) -> BoolArray:
    """bool [batch, token] from rows such as "0111"."""
    return np.array([[one == "1" for one in row] for row in rows])


def padding(*rows: str) -> Padding:
    """The rule that blocks the zeros of rows such as "0111"."""
    return Padding(Content(kept(*rows), np.bool_))


def call_of(rule: Rule, queries: Batch, keys: Batch, stack: Stack = Stack.DECODER, layer: int = 0) -> AttentionCall:
    """One call of one head, its attention even over what the rule shows."""
    at = Grid.of(queries.rows, queries.length, keys.length, 0)
    visible = np.broadcast_to(rule.visible(at), (queries.rows, 1, queries.length, keys.length))
    pattern = (visible / np.maximum(visible.sum(axis=-1, keepdims=True), 1)).astype(np.float32)
    return AttentionCall(stack, layer, f"layers.{layer}.{stack}", 1, 1, Mask.explained(visible, rule), pattern)


def run_of(*rules: Rule, keep: tuple[str, ...] = ("1111",), batch: Batch | None = None, **more: Any) -> Behaviour:
    """A run whose layers have these rules."""
    side = batch or side_of(kept(*keep))
    calls = tuple(call_of(rule, side, side, layer=layer) for layer, rule in enumerate(rules))
    trace = Trace(ModelCard("m", "M", "m", False, (len(rules),), (1,), (1,)), side, calls, drift=0.0)
    return Behaviour(trace, **more)


def with_trace(run: Behaviour, **changed: Any) -> Behaviour:
    """The same run with another field in its trace."""
    return replace(run, trace=replace(run.trace, **changed))
