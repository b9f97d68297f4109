"""Rules as plain data, which a page without Python asks why a cell is blocked."""

from __future__ import annotations

from maskviz.core.panels.report import Clause
from maskviz.core.rules.algebra import Combination, Leaf, Rule
from maskviz.core.rules.kinds.repositioned import Repositioned
from maskviz.core.writing import printable


def clause_of(rule: Rule, row: int) -> Clause:
    """A rule as data, for one row of the batch.

    Every clause has `kind`, `words`, `exception` and `reason` (a bit of `Reason`, 0 for combinations); the rest is what
    `Rule.clause` says of its kind, and `parts`. A rule that is not known by its kind is "opaque".
    """
    own: Clause = {
        "words": printable(str(rule)),
        "exception": rule.exception,
        "reason": int(rule.reason) if isinstance(rule, Leaf) else 0,
        **rule.clause(row),
    }
    if isinstance(rule, Combination):
        own["parts"] = [clause_of(part, row) for part in rule.parts]
    if isinstance(rule, Repositioned):
        own["parts"] = [clause_of(rule.rule, row)]
    return own
