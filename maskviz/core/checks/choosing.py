"""Which rules of a check are asked."""

from __future__ import annotations

from collections.abc import Iterable

from maskviz.core.checks.traps import TRAPS
from maskviz.core.errors import UsageError
from maskviz.core.writing import either, parameter


def chosen_rules(select: str | Iterable[str] | None, ignore: str | Iterable[str] | None) -> tuple[str, ...]:
    """Ids of the rules to ask for; a letter stands for its whole group.

    Raises:
        UsageError: there is no such rule, or none is left.
    """
    chosen = tuple(TRAPS) if select is None else _named(select, "select")
    ignored = () if ignore is None else _named(ignore, "ignore")
    left = tuple(one for one in TRAPS if one in chosen and one not in ignored)
    if not left:
        raise UsageError("no rule is left", _where_listed())
    return left


def _named(words: str | Iterable[str], option: str) -> tuple[str, ...]:
    found: list[str] = []
    for one in (words,) if isinstance(words, str) else words:
        for part in one.replace(",", " ").upper().split():
            own = [rule for rule in TRAPS if rule == part or rule.rstrip("0123456789") == part]
            if not own:
                raise UsageError(f"{parameter(option)}: there is no rule {part[:20]!r}", _where_listed())
            found += own
    return tuple(found)


def _where_listed() -> str:
    return either("docs/rules.md lists all of them", "maskviz check --list shows all of them")
