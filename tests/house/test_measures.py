"""The measures the house keeps: functions that fit a screen, files with one job."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import maskviz

PACKAGE = Path(maskviz.__file__).parent
FUNCTION_LINES, MODULE_LINES, PARAMETERS, ENTRIES = 50, 500, 6, 24


def functions() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef):
                yield str(path.relative_to(PACKAGE)), node


def test_functions_fit_a_screen() -> None:
    def lines(node: ast.FunctionDef) -> int:
        body = node.body[1:] if ast.get_docstring(node) and len(node.body) > 1 else node.body
        return (node.end_lineno or 0) - body[0].lineno + 1

    assert [f"{path}:{node.lineno} {node.name}" for path, node in functions() if lines(node) > FUNCTION_LINES] == []


def test_functions_take_few_parameters_outside_the_command_line() -> None:
    def count(node: ast.FunctionDef) -> int:
        return len([*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]) - (
            bool(node.args.args) and node.args.args[0].arg in ("self", "cls")
        )

    long = [f"{path}:{node.lineno} {node.name}" for path, node in functions() if count(node) > PARAMETERS]
    assert [name for name in long if not name.startswith("cli/")] == []


def test_modules_stay_small() -> None:
    sizes = {path.relative_to(PACKAGE): len(path.read_text("utf-8").splitlines()) for path in PACKAGE.rglob("*.py")}
    assert {str(path): size for path, size in sizes.items() if size > MODULE_LINES} == {}


def test_public_names_are_documented() -> None:
    undocumented = []
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        name = path.relative_to(PACKAGE)
        if not ast.get_docstring(tree):
            undocumented.append(str(name))
        for node in tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                undocumented += [] if ast.get_docstring(node) else [f"{name}: {node.name}"]
    assert undocumented == []


def test_folders_hold_few_entries() -> None:
    held = {path: len([one for one in path.iterdir() if one.name != "__pycache__"]) for path in _folders()}
    assert {str(path.relative_to(PACKAGE)): count for path, count in held.items() if count > ENTRIES} == {}


def _folders() -> Iterator[Path]:
    yield PACKAGE
    yield from (path for path in PACKAGE.rglob("*") if path.is_dir() and path.name != "__pycache__")


@pytest.mark.parametrize(("command", "most"), [(["show", "the cat sat"], 51), (["check", "-m", "demo:gpt", "a"], 56)])
def test_a_question_is_walked_through_in_few_files(command: list[str], most: int) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.entered", *command],
        capture_output=True,
        text=True,
        check=True,
        cwd=PACKAGE.parent,
    )
    said = done.stderr.splitlines()[-1]
    assert int(said.split()[2]) <= most, said
