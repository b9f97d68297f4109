"""What a condition says of some cells in words: its inequality with numbers, and what would have to change."""

from __future__ import annotations

from maskviz.core.results.why import Condition
from maskviz.core.rules.algebra import AllOf, Combination
from maskviz.core.writing import printable


def because(condition: Condition) -> str:
    """Why a condition lets queries see keys, or does not, with its numbers."""
    if isinstance(condition.rule, Combination):
        return _because_of_parts(condition)
    if condition.holds is None:
        return f"what {printable(str(condition.rule))} does could not be read"
    return condition.rule.because(condition)


def change(condition: Condition) -> str:
    """What would have to change for a condition that blocks some cells to let them through."""
    if isinstance(condition.rule, Combination):
        failing = [part for part in condition.parts if part.holds is not True]
        return f" {'and' if isinstance(condition.rule, AllOf) else 'or'} ".join(map(change, failing))
    return "not known" if condition.holds is None else condition.rule.change(condition)


def _because_of_parts(condition: Condition) -> str:
    parts = condition.parts
    if isinstance(condition.rule, AllOf):
        return "; ".join(because(part) for part in parts if part.holds is condition.holds)
    main, exceptions = ([part for part in parts if part.rule.exception is one] for one in (False, True))
    holding = [part for part in main if part.holds] or [part for part in exceptions if part.holds]
    if any(part.holds for part in main):
        return "; ".join(map(because, holding))
    said = "; ".join(map(because, main))
    if holding:
        return f"{said}, but {'; '.join(map(because, holding))}" if said else "; ".join(map(because, holding))
    if not exceptions:
        return said
    others = "; ".join(map(because, exceptions))
    return f"{said}; and no exception: {others}" if said else others
