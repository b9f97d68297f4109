"""Colour and width as a real terminal has them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.terminal import Terminal

pytestmark = pytest.mark.slow("starts processes in a pseudo-terminal")

COLOUR = b"\x1b[38;2;"  # the start of an ink in true colour


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb", "COLORTERM": ""}, False)],
    ids=["a colour terminal", "NO_COLOR", "TERM=dumb"],
)
def test_a_terminal_gets_the_colours_it_has(saved_run: Path, environment: dict[str, str], coloured: bool) -> None:
    with Terminal("view", str(saved_run), environment=environment) as terminal:
        assert terminal.ends() == 0
        assert (COLOUR in terminal.raw) is coloured
        if environment.get("TERM") == "dumb":
            assert b"\x1b" not in terminal.raw


def test_a_terminal_of_256_colours_gets_no_others(saved_run: Path) -> None:
    with Terminal("view", str(saved_run), environment={"COLORTERM": ""}) as terminal:
        assert terminal.ends() == 0
        assert b"\x1b[38;5;" in terminal.raw
        assert COLOUR not in terminal.raw


@pytest.mark.parametrize("columns", [50, 140])
def test_no_line_is_wider_than_the_terminal(saved_run: Path, columns: int) -> None:
    with Terminal("view", str(saved_run), size=(300, columns), environment={"NO_COLOR": "1"}) as terminal:
        assert terminal.ends() == 0
        written = terminal.raw.decode().replace("\x1b[0m", "").split("\r\n")
        plain = [line for line in written if "\x1b" not in line]
        assert max(map(len, plain)) <= columns


def test_a_pipe_gets_no_escape(saved_run: Path) -> None:
    command = [sys.executable, "-m", "maskviz", "view", str(saved_run)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert b"\x1b" not in done.stdout


def test_explore_in_a_pipe_says_that_it_needs_a_terminal() -> None:
    command = [sys.executable, "-m", "maskviz", "explore", "text"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == (
        "maskviz: error: explore needs a terminal to draw on, and standard output is none here"
    )
