"""Rules as plain data, which a page without Python asks why a cell is blocked."""

from __future__ import annotations

import numpy as np

from maskviz.core.arrays import IntArray
from maskviz.core.panels.printable import printable
from maskviz.core.panels.report import Clause
from maskviz.core.rules.algebra import AllOf, AnyOf, Everything, Leaf, Rule
from maskviz.core.rules.block_kinds import BlockCausal, BlockDiffusion, Prefix
from maskviz.core.rules.kinds import (
    Ahead,
    Band,
    Causal,
    Chunk,
    Document,
    Extra,
    Itself,
    Padding,
    Repositioned,
    Span,
    UserMask,
    Window,
)


def clause_of(rule: Rule, row: int) -> Clause:
    """A rule as data, for one row of the batch.

    Every clause has `kind`, `words`, `exception` and `reason` (a bit of `Reason`, 0 for combinations); the rest are the
    numbers of its kind: `size`, `reach`, `first`, `start` (`alike`: the same in all rows), `length` of a prefix or of a
    clean text, one entry per token in `keep`, `names` and `positions`, and `parts`. A rule that is not known by its
    kind is "opaque".
    """
    reason = int(rule.reason) if isinstance(rule, Leaf) else 0
    return {
        "words": printable(str(rule)),
        "exception": rule.exception,
        "reason": reason,
        **_own(rule, row),
    }


def _own(rule: Rule, row: int) -> Clause:
    match rule:
        case Everything():
            return {"kind": "everything"}
        case AllOf() | AnyOf():
            kind = "all" if isinstance(rule, AllOf) else "any"
            return {"kind": kind, "parts": [clause_of(part, row) for part in rule.parts]}
        case Repositioned():
            positions = rule.position.array[row].tolist()
            return {"kind": "moved", "parts": [clause_of(rule.rule, row)], "positions": positions}
        case Padding():
            return {"kind": "padding", "keep": rule.keep.array[row].astype(int).tolist(), "queries": rule.queries}
        case Document():
            return {"kind": "document", "names": _in_order(rule.document.array[row]).tolist()}
        case Span():
            return {"kind": "span", "names": rule.span.array[row].tolist()}
        case Prefix():
            lengths = rule.length.array
            return {"kind": "prefix", "length": int(lengths[row]), "alike": len(set(lengths.tolist())) == 1}
        case Chunk():
            starts = rule.start.array
            return {
                "kind": "chunk",
                "size": rule.size,
                "start": int(starts[row]),
                "alike": len(set(starts.tolist())) == 1,
            }
    return _of_numbers(rule)


def _of_numbers(rule: Rule) -> Clause:
    match rule:
        case Causal():
            return {"kind": "causal"}
        case Window():
            return {"kind": "window", "size": rule.size}
        case Ahead():
            return {"kind": "ahead", "reach": rule.reach}
        case Band():
            return {"kind": "band", "reach": rule.reach}
        case Itself():
            return {"kind": "itself"}
        case Extra():
            return {"kind": "extra", "first": rule.first}
        case BlockCausal():
            return {"kind": "block", "size": rule.size}
        case BlockDiffusion():
            return {"kind": "diffusion", "size": rule.size, "length": rule.length}
        case UserMask():
            return {"kind": "user"}
    return {"kind": "opaque"}


def _in_order(names: IntArray) -> IntArray:
    """Names as numbers from 0, in the order in which they are met."""
    _, first, number = np.unique(names, return_index=True, return_inverse=True)
    order = np.argsort(np.argsort(first))
    return np.asarray(order[number.ravel()])
