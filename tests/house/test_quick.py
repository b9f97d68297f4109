"""`make quick` asks every room: what it leaves out is marked slow, test by test or file by file, with a reason."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import maskviz

TESTS = Path(__file__).parents[1]
PACKAGE = Path(maskviz.__file__).parent
FILES = sorted(TESTS.rglob("test_*.py"))


def marks(tree: ast.AST) -> Iterator[ast.expr]:
    """Where something is marked slow: the call, or the name alone where nothing is called."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        named = node.func if isinstance(node, ast.Call) else node
        if isinstance(named, ast.Attribute) and named.attr == "slow" and id(node) not in called:
            assert isinstance(node, ast.expr)
            yield node


def is_slow(node: ast.stmt) -> bool:
    decorators = node.decorator_list if isinstance(node, ast.FunctionDef) else []
    return any(True for one in decorators for _ in marks(one))


def quick_tests(path: Path) -> list[str]:
    """The tests of a file that `make quick` asks."""
    body = ast.parse(path.read_text("utf-8")).body
    if any(isinstance(node, ast.Assign) and "pytestmark" in ast.unparse(node) and any(marks(node)) for node in body):
        return []
    tests = [node for node in body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
    return [node.name for node in tests if not is_slow(node)]


def test_every_room_is_asked() -> None:
    asked = {path.relative_to(TESTS).parts[0] for path in FILES if quick_tests(path)}
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").is_file()}
    assert rooms - asked == set()
    assert {path.relative_to(TESTS).parts[0] for path in FILES} - asked == {"browser", "extensions", "real"}


def test_what_is_left_out_says_why() -> None:
    silent = []
    for path in FILES:
        for mark in marks(ast.parse(path.read_text("utf-8"))):
            match mark:
                case ast.Call(args=[ast.Constant(value=str(reason))], keywords=[]) if len(reason.split()) > 2:
                    pass
                case _:
                    silent.append(f"{path.relative_to(TESTS)}:{mark.lineno}")
    assert silent == []


def test_marks_are_seen_on_tests_and_on_files(tmp_path: Path) -> None:
    path = tmp_path / "test_one.py"
    path.write_text(
        "@pytest.mark.slow('a b c')\ndef test_a(): ...\n\n@pytest.mark.slow\ndef test_b(): ...\n\ndef test_c(): ...\n"
    )
    assert quick_tests(path) == ["test_c"]
    assert [type(mark) for mark in marks(ast.parse(path.read_text()))] == [ast.Call, ast.Attribute]
    path.write_text("pytestmark = pytest.mark.slow('a b c')\ndef test_a(): ...\n")
    assert quick_tests(path) == []
