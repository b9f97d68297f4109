"""A kind of rule is one file: whoever reads rules finds in the registry what the file says, and lists no kinds."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any, cast

import maskviz
from maskviz.core.rules.algebra import Leaf
from maskviz.core.rules.registry import house_kinds

PACKAGE = Path(maskviz.__file__).parent
KINDS = PACKAGE / "core/rules/kinds"


def classes_of(path: Path) -> list[str]:
    return [node.name for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]


def test_every_file_of_the_shelf_is_one_kind_that_is_entered() -> None:
    files = {path.stem: classes_of(path) for path in KINDS.glob("*.py") if path.stem != "__init__"}
    assert all(len(names) == 1 for names in files.values()), files
    entered = {kind.__name__ for kind in house_kinds() if kind.__module__.startswith("maskviz.core.rules.kinds.")}
    assert entered == {names[0] for names in files.values()}


def named(path: Path, names: set[str]) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Name) and node.id in names:
            yield node.id


def test_only_who_reads_the_mask_functions_of_transformers_names_many_kinds() -> None:
    files = [path for path in PACKAGE.rglob("*.py") if not path.is_relative_to(PACKAGE / "core/rules")]
    kinds = {name for file in KINDS.glob("*.py") for name in classes_of(file)}
    many = {str(path.relative_to(PACKAGE)) for path in files if len(set(named(path, kinds))) > 5}
    assert many == {"tracing/seam/masks.py"}


def test_kinds_of_the_house_can_be_told_from_each_other_and_written() -> None:
    house = house_kinds()
    assert len({kind.kind for kind in house}) == len(house)
    for kind in house:
        assert len(fields(cast(Any, kind))) == len(kind.form), kind
        assert kind.kind in kind.form or not kind.form, kind
    in_others = {name for kind in house for name in kind.form if name != kind.kind}
    assert not in_others & {kind.kind for kind in house}


def test_what_a_kind_may_be_asked_is_all_in_the_class_of_rules() -> None:
    base = {name for name, _ in inspect.getmembers(Leaf)}
    for kind in house_kinds():
        own = {name for name, _ in inspect.getmembers(kind, inspect.isfunction) if not name.startswith("_")}
        assert own - base <= {"asked_at"}, kind
