"""The rules there are: traps of the house, those that other packages bring, and which of them are chosen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from maskviz.core.checks.case import Case, GivenArray
from maskviz.core.checks.findings import Check, Finding, Lint, Need, Trap
from maskviz.core.checks.traps import batches, masks, models
from maskviz.core.errors import UsageError
from maskviz.core.extensions import LINTS, Extension, extensions
from maskviz.core.words import Severity
from maskviz.core.writing import either, nearest, parameter

# Ids of the house begin with one letter, those of others with more, so that neither ever takes the other's.
_ID = re.compile(r"[A-Z]{2,12}[1-9][0-9]{0,2}")


def brought_traps(taken: Mapping[str, Trap]) -> dict[str, Trap]:
    """The traps that packages bring, by id.

    Args:
        taken: The traps there are without them.

    Raises:
        ExtensionError: one is none that can be used, or has the id of another.
    """
    found: dict[str, Trap] = {}
    packages: dict[str, str] = {}
    for one, check in _checks():
        trap = check.trap
        if trap.id in taken or trap.id in found:
            whose = f"package {packages[trap.id]!r} brings one" if trap.id in found else "there is one"
            raise one.wrong(f"it brings a rule of check called {trap.id!r}, and {whose}")
        if not _ID.fullmatch(trap.id):
            raise one.wrong(f"the id {trap.id!r} is not two capital letters or more and a number, such as 'ACME1'")
        found[trap.id], packages[trap.id] = trap, one.package
    return found


def brought_lints() -> tuple[Lint, ...]:
    """The rules that packages bring; one that fails raises an `ExtensionError` when it is asked."""
    return tuple(Lint(check.trap.id, _HeldToItsPromise(one, check), check.needs) for one, check in _checks())


def _checks() -> Iterator[tuple[Extension, Check]]:
    for one in extensions(LINTS):
        check = one.value
        if not isinstance(check, Check):
            raise one.wrong(f"{one.name} is no Check but {type(check).__name__}")
        if not isinstance(check.trap, Trap) or not isinstance(check.trap.severity, Severity):
            raise one.wrong(f"the trap of {one.name} is no Trap with a Severity")
        if not callable(check.ask) or not all(isinstance(need, Need) for need in check.needs):
            raise one.wrong(f"{one.name} cannot be asked, or needs what is no Need")
        yield one, check


class _HeldToItsPromise:
    """The function of a rule that a package brings, held to what it promises."""

    def __init__(self, extension: Extension, check: Check) -> None:
        self.extension, self.check = extension, check

    def __call__(self, case: Case) -> Iterable[Finding]:
        found = self.extension.call(lambda: tuple(self.check.ask(case)))
        if strange := [one for one in found if not isinstance(one, Finding) or one.trap != self.check.trap]:
            raise self.extension.wrong(f"{self.check.trap.id} finds {strange[0]!r:.60}, which is no finding of it")
        return tuple(found)


def _number(trap: Trap) -> tuple[int, int]:
    return "PBTNLKH".index(trap.id[0]), int(trap.id[1:])


HOUSE: dict[str, Trap] = {trap.id: trap for trap in sorted((*batches.TRAPS, *masks.TRAPS, *models.TRAPS), key=_number)}


class Traps(Mapping[str, Trap]):
    """Every trap by its id: those of the house, then those that other packages bring. These are imported for whoever
    asks on, or for all of them; a package that is broken raises an `ExtensionError` there."""

    def __getitem__(self, identity: str) -> Trap:
        return HOUSE[identity] if identity in HOUSE else brought_traps(HOUSE)[identity]

    def __iter__(self) -> Iterator[str]:
        return iter([*HOUSE, *brought_traps(HOUSE)])

    def __len__(self) -> int:
        return len(HOUSE) + len(brought_traps(HOUSE))


TRAPS = Traps()

# Traps of method, which nothing that is handed to a check can show.
NOT_CHECKED = {
    "H4": "self-repair: later heads make up for a silenced one; prune and show --head-mask silence several at once",
    "H5": "redundant is not unimportant: prune draws random orders beside every ranking",
}


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
                close = nearest(part, [*TRAPS, *(trap.name.upper() for trap in TRAPS.values())])
                hint = f"{close} {_where_listed()}".strip()
                raise UsageError(f"{parameter(option)}: there is no rule {part[:20]!r}", hint)
            found += own
    return tuple(found)


def _where_listed() -> str:
    return either("docs/rules.md lists all of them", "maskviz check --list shows all of them")


def found(identity: str, where: str, message: str, **more: Any) -> Finding:
    """A finding of the trap with this id; what else a `Finding` has goes by name."""
    return Finding(TRAPS[identity], where, message, **more)


def leak_of(array: GivenArray) -> str:
    """What the framework's own attention gives to cells that are meant to be blocked, in words; "" if not known."""
    if array.trial is None or array.trial.leaked is None:
        return ""
    return f"with random queries and keys, up to {array.trial.leaked:.3f} of a query's attention falls on blocked cells"


def not_numbers_of(array: GivenArray) -> str:
    """For how many queries the framework puts out NaN, in words; "" for none."""
    count = 0 if array.trial is None else array.trial.not_numbers
    return f"the framework's output is NaN for {count} quer{'y' if count == 1 else 'ies'}" if count else ""
