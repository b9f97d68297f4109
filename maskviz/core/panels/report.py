"""A report: everything an interactive page shows of one run, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from maskviz.core.arrays import BoolArray, ByteArray, FloatArray
from maskviz.core.panels.page import Note, Panel, Token
from maskviz.core.words import Scale

# A rule as plain data that a page can ask about a cell: its kind, its words, its numbers and its parts.
Clause = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class ReportMask:
    """A mask that some calls share.

    Attributes:
        rule: The rule in words, printable.
        clauses: The rule of each text as data, [text].
        reasons: uint8 bits of `Reason` [batch, 1 or head, query, key], 0 where visible.
        query_offset: Position of the first query.
        agrees: Whether the rule explains every cell; None where it cannot be read.
    """

    rule: str
    clauses: tuple[Clause, ...]
    reasons: ByteArray
    query_offset: int = 0
    agrees: bool | None = True


@dataclass(frozen=True, slots=True, eq=False)
class ReportCall:
    """One attention of one layer.

    Attributes:
        stack: "encoder", "decoder" or "cross".
        layer: Layer within the stack, from 0.
        module: Path of the module that ran it, printable.
        heads, key_heads: Query heads, and the key heads they share.
        mask: Number of its mask in `Report.masks`.
        queries, keys: Tokens along the two axes, [text][token].
        real: bool [text, query], False where the query is padding.
        pattern: float32 [text, head, query, key] after softmax, before any gate, or None.
        before: The same of the run without a head mask, or None.
        gates: Gate of each head in [0, 1]; empty without a head mask.
    """

    stack: str
    layer: int
    module: str
    heads: int
    key_heads: int
    mask: int
    queries: tuple[tuple[Token, ...], ...]
    keys: tuple[tuple[Token, ...], ...]
    real: BoolArray
    pattern: FloatArray | None = None
    before: FloatArray | None = None
    gates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        shape = (len(self.queries), self.heads, len(self.queries[0]), len(self.keys[0]))
        if self.real.shape != (shape[0], shape[2]):
            raise ValueError(f"{self.module}: real {self.real.shape} does not fit {shape[2]} queries")
        for pattern in (self.pattern, self.before):
            if pattern is not None and pattern.shape != shape:
                raise ValueError(f"{self.module}: pattern {pattern.shape} must be {shape}")

    @property
    def tops(self) -> tuple[float, ...]:
        """The largest weight of a real query, before or after, of each text; 0 where there is none."""
        maps = [one for one in (self.pattern, self.before) if one is not None]
        return tuple(
            max((_largest(one[text][:, self.real[text]]) for one in maps), default=0.0)
            for text in range(len(self.queries))
        )


def _largest(values: FloatArray) -> float:
    finite = values[np.isfinite(values)] if not np.isfinite(values).all() else values
    return float(finite.max()) if finite.size else 0.0


@dataclass(frozen=True, slots=True)
class ReportHead:
    """What is known of a head on the text the report opens with.

    Attributes:
        call, head: Which one; numbers from 0 of a call in `Report.calls` and of its head.
        roles: Names of its roles with their scores, the one farthest above its threshold first.
        stands_out: What makes it stand out, such as "previous token 0.76"; empty where it does not.
    """

    call: int
    head: int
    roles: tuple[tuple[str, float], ...] = ()
    stands_out: str = ""


@dataclass(frozen=True, slots=True)
class Opening:
    """What a report shows first: numbers from 0 of a call in `Report.calls`, a head and a text; and the scale."""

    call: int = 0
    head: int = 0
    text: int = 0
    scale: Scale = Scale.LINEAR


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What an interactive page shows. All strings are printable.

    Attributes:
        title: One line, the text unless another was chosen.
        subtitle: The model in one line.
        texts: A name for each text of the batch.
        masks: The different masks.
        calls: The attention calls, in the order they ran.
        notes: What a reader must know before the pictures.
        evidence: How far the run is to be believed.
        findings: What `check` says, its verdict first; empty where it was not asked.
        changes: What a head mask changed.
        asked: Notes and tables on what else was asked of the run.
        heads: The heads that have roles or stand out; those that stand out first, the one that does most before all.
        roles: What attention of each role looks like, a clause.
        facts: Model, text, command.
        opens: What is shown first.
    """

    title: str
    subtitle: str
    texts: tuple[str, ...]
    masks: tuple[ReportMask, ...]
    calls: tuple[ReportCall, ...]
    notes: tuple[Note, ...] = ()
    evidence: str = ""
    findings: tuple[Note, ...] = ()
    changes: tuple[Panel, ...] = ()
    asked: tuple[Panel, ...] = ()
    heads: tuple[ReportHead, ...] = ()
    roles: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)
    opens: Opening = Opening()
