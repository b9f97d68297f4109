"""Doors open one way, and each heavy library lives in the rooms that need it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import maskviz

PACKAGE = Path(maskviz.__file__).parent

# Which rooms, or shelves of rooms, a room may import besides itself and core.
MIDDLE = {"ablate", "load", "tracing", "analyse", "conventions", "view", "render", "store"}
MAY_IMPORT: dict[str, set[str]] = {
    "core": set(),
    "load": {"demo", "tracing.seam"},
    "demo": set(),
    "tracing": set(),
    "ablate": {"load", "tracing"},
    "analyse": set(),
    "conventions": set(),
    "view": set(),
    "render": set(),
    "store": set(),
    "api": MIDDLE | {"demo"},
    "cli": MIDDLE | {"api", "demo", "explore"},
    "explore": {"view", "render", "store"},
}
MAY_USE: dict[str, set[str]] = {
    "torch": {"ablate", "api", "conventions", "load", "tracing", "demo"},
    "transformers": {"ablate", "api", "load", "tracing", "demo"},
    "tokenizers": {"demo", "load"},
    "safetensors": {"conventions", "load", "demo"},
    "huggingface_hub": {"load"},
    "keras": {"tracing"},
    "rich": {"cli", "explore", "render"},
    "PIL": {"explore", "load"},
    "matplotlib": {"api", "render"},
    "textual": {"explore"},
    "textual_image": {"explore"},
    "typer": {"cli", "demo"},
}


def imports(source: str) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a file imports, at any depth."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            module = node.module or ""
            yield node.lineno, module
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names if module == "maskviz")


def violations(room: str, source: str) -> list[str]:
    """What a file of a room imports and may not, as `line: name`."""
    found = []
    for line, name in imports(source):
        parts = name.split(".")
        if parts[0] == "maskviz" and len(parts) > 1:
            allowed = {room, "core"} | MAY_IMPORT[room]
            if parts[1] in MAY_IMPORT and not {parts[1], ".".join(parts[1:3])} & allowed:
                found.append(f"{line}: {name}")
        elif room not in MAY_USE.get(parts[0], {room}):
            found.append(f"{line}: {name}")
    return found


FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_file_imports_only_what_its_room_may(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0]
    assert violations(room, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("room", "line"),
    [
        ("core", "import torch"),
        ("view", "from maskviz.render.terminal import page as terminal"),
        ("analyse", "def f():\n    from transformers import AutoModel"),
        ("store", "from maskviz import cli"),
        ("load", "from maskviz.tracing.run import run"),
        ("render", "import matplotlib, torch.nn"),
    ],
)
def test_a_forbidden_import_is_noticed(room: str, line: str) -> None:
    assert violations(room, line)


def test_every_room_has_a_rule() -> None:
    rooms = {path.relative_to(PACKAGE).parts[0] for path in FILES}
    assert rooms == set(MAY_IMPORT)


def test_modules_import_each_other_in_one_direction() -> None:
    graph = {name: set(edges) for name, edges in _module_graph()}
    order: list[str] = []
    while graph:
        free = [name for name, edges in graph.items() if not edges & graph.keys() - {name}]
        assert free, f"import cycle among {sorted(graph)}"
        order += free
        graph = {name: edges for name, edges in graph.items() if name not in free}


def _module_graph() -> Iterator[tuple[str, set[str]]]:
    names = {".".join(("maskviz", *path.relative_to(PACKAGE).with_suffix("").parts)): path for path in FILES}
    for name, path in names.items():
        yield name, (_known_from_the_start(path.read_text(encoding="utf-8")) & names.keys()) - {name}


def _known_from_the_start(source: str) -> set[str]:
    """What a file imports outside its functions, for its types alone, too; a function may look back."""
    found = set()
    blocks = [ast.parse(source).body]
    for body in blocks:
        for node in body:
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
            elif isinstance(node, ast.If | ast.Try):
                blocks.append([*node.body, *node.orelse])
    return found


def test_an_import_for_types_alone_counts_and_one_in_a_function_does_not() -> None:
    source = "if TYPE_CHECKING:\n    from maskviz.core import one\n\ndef f():\n    from maskviz.core import two"
    assert _known_from_the_start(source) == {"maskviz.core", "maskviz.core.one"}
