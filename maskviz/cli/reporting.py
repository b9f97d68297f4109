"""Findings to the terminal, to standard output as data, or to files; and which rules are asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from maskviz.cli.env import Env
from maskviz.cli.outputs import Drawing, deliver, print_out
from maskviz.cli.outputs import checked as checked_paths
from maskviz.core.checks.findings import Checked
from maskviz.core.checks.traps import NOT_CHECKED, TRAPS
from maskviz.core.errors import UsageError
from maskviz.core.panels.page import Panel
from maskviz.store.findings import findings_json, findings_sarif
from maskviz.view.findings import findings_page, traps_page, verdict


def chosen_traps(select: str | None, ignore: str | None) -> tuple[str, ...]:
    """Ids of the traps to ask for; a letter stands for its whole group.

    Raises:
        UsageError: there is no such rule, or none is left.
    """
    chosen = tuple(TRAPS) if select is None else _named(select, "--select")
    ignored = () if ignore is None else _named(ignore, "--ignore")
    left = tuple(one for one in TRAPS if one in chosen and one not in ignored)
    if not left:
        raise UsageError("no rule is left", "maskviz check --list shows all of them")
    return left


def _named(text: str, option: str) -> tuple[str, ...]:
    found: list[str] = []
    for word in text.replace(",", " ").upper().split():
        own = [one for one in TRAPS if one == word or one.rstrip("0123456789") == word]
        if not own:
            raise UsageError(f"{option}: there is no rule {word[:20]!r}", "maskviz check --list shows all of them")
        found += own
    return tuple(found)


def destinations(paths: list[Path] | None, form: str | None, read: Path | None) -> list[Path]:
    """The files to write; with a format of its own a file may end as it likes.

    Raises:
        MaskvizError: one cannot be written, or its format cannot be told.
    """
    if form in ("json", "sarif") and paths:
        if len(paths) > 1:
            raise UsageError(f"--format {form} writes one file", "leave it out: -o goes by suffix")
        return checked_paths(paths, (paths[0].suffix.lower(),), read)
    return checked_paths(paths, (".json", ".sarif"), read)


def listed_traps(env: Env, chosen: tuple[str, ...], form: str | None, paths: list[Path] | None, dpi: int) -> None:
    """The table of the rules.

    Raises:
        UsageError: it is asked for as data, which findings alone are written as.
    """
    if form in ("json", "sarif"):
        raise UsageError(f"--list is a table, and --format {form} is for findings", "leave out --format")
    deliver(env, traps_page([TRAPS[one] for one in chosen], NOT_CHECKED), checked_paths(paths, ()), Drawing(dpi))


def report_findings(
    env: Env, found: tuple[Checked, Sequence[Panel]], form: str | None, paths: list[Path], dpi: int
) -> None:
    """Write findings where they are wanted, their pictures on the page alone; say what was found where they went to
    files."""
    checked, pictures = found
    writers = {
        ".json": lambda: findings_json(checked, env.command),
        ".sarif": lambda: findings_sarif(checked, env.command),
    }
    if form in ("json", "sarif") and not paths:
        print_out(env, writers[f".{form}"]().decode())
        return
    if form in ("json", "sarif"):
        writers = {paths[0].suffix.lower(): writers[f".{form}"]}
    page = findings_page(checked, {"command": env.command}, pictures)
    deliver(env, page, paths, Drawing(dpi), writers)
    if paths:
        env.say(verdict(checked))
