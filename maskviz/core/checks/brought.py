"""Rules of `check` that other packages bring."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Finding, Trap
from maskviz.core.checks.lint import Check, Lint, Need
from maskviz.core.extensions import LINTS, Extension, extensions
from maskviz.core.words import Severity

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
    return tuple(Lint(check.trap.id, _Asked(one, check), check.needs) for one, check in _checks())


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


class _Asked:
    """The function of a rule that a package brings, held to what it promises."""

    def __init__(self, extension: Extension, check: Check) -> None:
        self.extension, self.check = extension, check

    def __call__(self, case: Case) -> Iterable[Finding]:
        found = self.extension.call(lambda: tuple(self.check.ask(case)))
        if strange := [one for one in found if not isinstance(one, Finding) or one.trap != self.check.trap]:
            raise self.extension.wrong(f"{self.check.trap.id} finds {strange[0]!r:.60}, which is no finding of it")
        return tuple(found)
