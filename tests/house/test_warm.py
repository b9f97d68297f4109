"""A program out of the warm process does what it does out of a process of its own."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.warm import Shell

pytestmark = pytest.mark.slow("starts processes that import torch anew")

PROGRAMS = Path(sys.executable).parent
# Commands that no other test runs in a process that starts with nothing imported, and what a shell may ask of any.
LINES = [
    "maskviz --version",
    'maskviz diff -m demo:gpt --attn eager,sdpa "The cat sat"',
    'maskviz explain -m demo:gpt "The cat sat" --at 1,2',
    'maskviz heads -m demo:gpt "The cat sat" --top 2 | tail -5',
    'maskviz importance "The cat sat" --top 2',
    'maskviz mlm --seed 3 - <<< "The cat sat in the house."',
    'maskviz prune -m demo:gpt "The cat sat" --keep 0.6 --save mask.json; cat mask.json',
    "maskviz show",
    "FORCE_COLOR=1 NO_COLOR= COLUMNS=50 maskviz mask causal --length 40",
    "python -c 'import sys; sys.exit(len(sys.argv))' a 'b c'",
    "python -c 'import sys; sys.exit(\"gone\")'",
    "python - a <<< 'import sys; print(sys.argv, file=sys.stderr)'",
    "echo 'import beside; print(beside.__name__, __name__)' > one.py; touch beside.py; python one.py",
    "python -c 'import os; os.kill(os.getpid(), 15)'; echo $?",
    "python -c 'print(input(), end=str())' < /dev/null 2> /dev/null",
]


@pytest.mark.parametrize("line", LINES)
def test_a_warm_program_does_what_a_cold_one_does(line: str, shell: Shell, tmp_path: Path) -> None:
    cold = Shell(shell.home, {**shell.variables, "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}"})
    answers = []
    for one, name in ((shell, "warm"), (cold, "cold")):
        folder = tmp_path / name
        folder.mkdir()
        done = one.run(line, folder)
        files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
        answers.append((done.returncode, done.stdout, done.stderr, files))
    assert answers[0] == answers[1]


def test_the_module_is_the_installed_program(shell: Shell, tmp_path: Path) -> None:
    """What `maskviz` and `python -m maskviz` say of one run, in processes of their own."""
    named, module = (
        shell.run(f"{program} mask causal --length 9", tmp_path)
        for program in (PROGRAMS / "maskviz", f"{sys.executable} -m maskviz")
    )
    assert (named.returncode, named.stdout, named.stderr) == (module.returncode, module.stdout, module.stderr)
    assert (named.returncode, "causal" in named.stdout) == (0, True)


def test_an_error_has_its_traceback(shell: Shell, tmp_path: Path) -> None:
    done = shell.run("python -c 'nothing'", tmp_path)
    assert done.returncode == 1
    assert "NameError: name 'nothing' is not defined" in done.stderr


def test_variables_the_libraries_have_read_cannot_be_changed(shell: Shell, tmp_path: Path) -> None:
    done = shell.run("maskviz --version", tmp_path, HF_HOME="/elsewhere")
    assert (done.returncode, done.stdout) == (1, "")
    assert "the libraries were imported under another HF_HOME" in done.stderr


def test_a_reader_that_leaves_and_programs_side_by_side(shell: Shell, tmp_path: Path) -> None:
    assert shell.run("set -o pipefail; maskviz info demo:bert | head -1", tmp_path).returncode == 0
    both = shell.run(
        "maskviz mask causal --length 9 > a & maskviz mask 'window(3)' --length 9 > b & wait; cat a b", tmp_path
    )
    assert both.stdout.count("a mask of 9 tokens") == 2, both
