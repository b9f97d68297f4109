"""The releases maskviz says it was tested with are those it is tested with, and newer ones are said."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from maskviz.core import machine
from tests.conftest import Response

ROOT = Path(__file__).parents[2]


def pinned(name: str) -> str:
    (found,) = re.findall(rf"^{name}==(.+)$", (ROOT / "constraints.txt").read_text(encoding="utf-8"), re.MULTILINE)
    return str(found)


@pytest.mark.parametrize("name", machine.NEWEST_TESTED)
def test_the_newest_tested_release_is_the_one_that_is_pinned(name: str) -> None:
    assert machine.NEWEST_TESTED[name] == pinned(name)


def test_the_oldest_release_promised_is_the_one_that_is_tested() -> None:
    promised = re.search(r'"transformers>=([\d.]+)"', (ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    tested = re.search(r"^OLDEST := transformers==([\d.]+)$", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert promised is not None
    assert tested is not None
    assert tested[1].startswith(promised[1])


@pytest.mark.parametrize(
    ("installed", "newer"),
    [
        ("5.24.0", False),
        ("5.24.1", True),
        ("5.25.0.dev0", True),
        ("5.9.9", False),
        ("6.0", True),
        ("5.24.0+cpu", False),
    ],
)
def test_a_release_is_newer_by_its_numbers(monkeypatch: pytest.MonkeyPatch, installed: str, newer: bool) -> None:
    monkeypatch.setattr(machine, "NEWEST_TESTED", {"transformers": "5.24.0"})
    monkeypatch.setattr(machine, "version", lambda name: installed)
    assert bool(machine.newer_than_tested()) is newer


@pytest.mark.parametrize(
    "command",
    [("show", "-m", "demo:bert", "hello"), ("info", "demo:bert"), ("mask", "-m", "demo:bert", "--length", "9")],
    ids=lambda command: command[0],
)
def test_a_newer_release_is_one_line_on_stderr(
    maskviz: Callable[..., Response], monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr(machine, "NEWEST_TESTED", {"transformers": "4.0.0"})
    monkeypatch.setattr("maskviz.cli.env.newer_than_tested", machine.newer_than_tested)
    response = maskviz(*command)
    (line,) = [line for line in response.stderr.splitlines() if "newer than" in line]
    assert re.fullmatch(
        r"maskviz: note: transformers \S+ is newer than 4\.0\.0, the newest release maskviz was tested with", line
    )
    assert "newer than" not in response.stdout
