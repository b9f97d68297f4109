"""Ctrl-C at every moment of a process, streams that are full or closed, and nothing but one line each time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow("starts a process for each command")

RUN = Path(__file__).parents[1] / "store" / "runs" / "version-1" / "past.npz"
LINE = "maskviz: interrupted\n"
COMMANDS = [
    "show",
    "check",
    "convert",
    "explain",
    "diff",
    "explore",
    "heads",
    "importance",
    "prune",
    "mask",
    "mlm",
    "view",
    "info",
]

# A process that interrupts itself as soon as a module is asked for, or when Python ends; before maskviz is imported.
SELF_INTERRUPTING = """
import atexit, os, signal, sys
interrupt = lambda *_: os.kill(os.getpid(), signal.SIGINT)
class Interrupting:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            interrupt()
sys.meta_path.insert(0, Interrupting())
{more}
sys.argv = ["maskviz", *{arguments!r}]
import runpy
runpy.run_module("maskviz", run_name="__main__", alter_sys=True)
"""


def interrupted(arguments: list[str], module: str = "", more: str = "") -> subprocess.CompletedProcess[str]:
    code = SELF_INTERRUPTING.format(module=module, more=more, arguments=arguments)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("maskviz.cli.app", ["--version"]),  # before there is a command line
        ("maskviz.cli.env", ["--version"]),
        ("maskviz.store.archive", ["view", str(RUN)]),  # while the command runs
        ("maskviz.render.terminal.page", ["view", str(RUN)]),
        ("numpy", ["view", str(RUN)]),
    ],
)
def test_an_interrupt_while_something_is_imported_is_a_line(module: str, arguments: list[str]) -> None:
    done = interrupted(arguments, module)
    assert (done.returncode, done.stderr, done.stdout) == (130, LINE, "")


def test_an_interrupt_through_code_that_is_made_of_text_is_exit_code_130() -> None:
    """Python ends by a signal of its own where an interrupt has passed through `exec` of a string."""
    through = "import maskviz.store.archive as a; a.read_run = lambda _: exec('interrupt()', {'interrupt': interrupt})"
    done = interrupted(["view", str(RUN)], more=through)
    assert (done.returncode, done.stderr) == (130, LINE)


def test_an_interrupt_at_the_end_is_a_line() -> None:
    done = interrupted(["view", str(RUN)], more="atexit.register(interrupt)")
    assert done.returncode in (0, 130)
    assert done.stderr in ("", LINE)
    assert "causal" in done.stdout


def test_an_interrupt_after_what_is_registered_last_is_a_line_or_comes_too_late() -> None:
    # What is registered while a command runs is called first when Python ends, where it ends by itself.
    late = "import maskviz.cli.view as v; v.deliver = lambda *_: atexit.register(interrupt)"
    done = interrupted(["view", str(RUN)], more=late)
    assert (done.returncode, done.stderr) in ((130, LINE), (0, ""))


def test_an_interrupt_that_is_ignored_stays_ignored() -> None:
    done = interrupted(["view", str(RUN)], "maskviz.store.archive", more="signal.signal(signal.SIGINT, signal.SIG_IGN)")
    assert (done.returncode, done.stderr) == (0, "")
    assert "causal" in done.stdout


def test_importing_maskviz_changes_no_handler() -> None:
    code = "import signal; before = signal.getsignal(signal.SIGINT); import maskviz, maskviz.cli.app; "
    code += "assert signal.getsignal(signal.SIGINT) is before"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def shell(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{sys.executable} -m maskviz {command}"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environment},
    )


FULL = "maskviz: error: cannot write to standard output: No space left on device\n  hint: check the disk\n"


@pytest.mark.parametrize("command", ["--help", "-h", "--version", *(f"{name} --help" for name in COMMANDS)])
def test_help_on_a_full_disk_is_a_line(command: str) -> None:
    done = shell(f"{command} > /dev/full")
    assert (done.returncode, done.stderr) == (3, FULL)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_full_disk_is_said_however_the_stream_is_buffered(unbuffered: str, encoding: str) -> None:
    for command in ("--help", f"view {RUN}"):
        done = shell(f"{command} > /dev/full", PYTHONUNBUFFERED=unbuffered, PYTHONIOENCODING=encoding)
        assert (done.returncode, done.stderr) == (3, FULL)


@pytest.mark.parametrize("command", ["--help", "show --help", f"view {RUN}"])
def test_a_reader_that_leaves_at_once_is_no_error(command: str) -> None:
    done = shell(f"{command} | true")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("command", "code"),
    [("", 0), ("--help", 0), ("show", 2), ("view /nothing.npz", 3), (f"view {RUN}", 0), ("show --nothing", 2)],
)
def test_a_standard_error_that_is_full_changes_no_exit_code(command: str, code: int) -> None:
    assert shell(f"{command} 2> /dev/full").returncode == code


def test_results_are_written_where_nobody_can_be_told(tmp_path: Path) -> None:
    assert shell(f"view {RUN} -o {tmp_path / 'page.txt'} 2> /dev/full").returncode == 0
    assert "causal" in (tmp_path / "page.txt").read_text(encoding="utf-8")
