"""Between rooms travel codes: nothing is decided by how a sentence of another room begins."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import maskviz

PACKAGE = Path(maskviz.__file__).parent
ASKED = {"startswith", "endswith", "partition", "rpartition", "removeprefix", "removesuffix", "find", "index"}
SENTENCES = {"words", "message", "kind", "sentence", "reason", "why", "note", "notes", "caption", "text", "attention"}


def read_sentences(source: str) -> Iterator[int]:
    """Lines in which a sentence that a value holds is taken apart, or searched for words."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ASKED:
            held = node.func.value
            if isinstance(held, ast.Attribute) and held.attr in SENTENCES:
                yield node.lineno
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
            word, held = node.left, node.comparators[0]
            said = isinstance(word, ast.Constant) and isinstance(word.value, str)
            name = held.attr if isinstance(held, ast.Attribute) else held.id if isinstance(held, ast.Name) else ""
            if said and name in SENTENCES:
                yield node.lineno


@pytest.mark.parametrize("room", ["analyse", "view", "store", "render", "ablate", "conventions"])
def test_no_room_reads_the_sentences_of_another(room: str) -> None:
    found = {
        f"{path.relative_to(PACKAGE)}:{line}"
        for path in sorted((PACKAGE / room).rglob("*.py"))
        for line in read_sentences(path.read_text(encoding="utf-8"))
    }
    assert found == set()


@pytest.mark.parametrize(
    "source",
    ["group.words.startswith('no mask')", "'window' not in group.why", "[n for note in t.notes if 'rely' in note]"],
)
def test_a_sentence_that_is_read_is_noticed(source: str) -> None:
    assert list(read_sentences(source))
