"""A kind of rule is one file: whoever reads rules finds in the registry what the file says, and lists no kinds."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

import maskviz
from maskviz.core.arrays import BoolArray
from maskviz.core.rules import registry
from maskviz.core.rules.algebra import Grid, Leaf
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.registry import enter, kinds

PACKAGE = Path(maskviz.__file__).parent
KINDS = PACKAGE / "core/rules/kinds"


def classes_of(path: Path) -> list[str]:
    return [node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]


def test_every_file_of_the_shelf_is_one_kind_that_is_entered() -> None:
    files = {path.stem: classes_of(path) for path in KINDS.glob("*.py") if path.stem != "__init__"}
    assert all(len(names) == 1 for names in files.values()), files
    entered = {kind.__name__ for kind in kinds() if kind.__module__.startswith("maskviz.core.rules.kinds.")}
    assert entered == {names[0] for names in files.values()}


def named(path: Path) -> Iterator[str]:
    names = {names for file in KINDS.glob("*.py") for names in classes_of(file)}
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Name) and node.id in names:
            yield node.id


def test_only_who_reads_the_mask_functions_of_transformers_names_many_kinds() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(PACKAGE / "core/rules")]
    many = {str(path.relative_to(PACKAGE)) for path in files if len(set(named(path))) > 4}
    assert many == {"tracing/seam/mask_functions.py"}


@dataclass(frozen=True, slots=True)
class Odd(Leaf):
    """Odd keys alone."""

    kind: ClassVar[str] = "odd"

    @property
    def reason(self) -> Reason:
        return Reason.SPARSE

    def visible(self, at: Grid) -> BoolArray:
        return np.asarray(at.key % 2 == 1)

    def __str__(self) -> str:
        return "odd"


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_ENTERED", dict(registry._ENTERED))


@pytest.mark.usefixtures("entered")
def test_a_name_in_files_is_that_of_one_kind() -> None:
    enter(Odd)
    with pytest.raises(ValueError, match="'odd' in files, as Odd is"):
        enter(Odd)


@pytest.mark.usefixtures("entered")
@pytest.mark.parametrize(
    ("attributes", "said"), [({"kind": ""}, "no `kind`"), ({"form": {"odd": None}}, "no dataclass")]
)
def test_a_kind_that_cannot_be_written_is_refused(attributes: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        enter(type("Other", (Odd,), {"kind": "other", **attributes}))


def test_what_a_kind_may_be_asked_is_all_in_the_class_of_rules() -> None:
    base = {name for name, _ in inspect.getmembers(Leaf)}
    for kind in kinds():
        own = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
        assert own - base <= {"asked_at"}, kind
