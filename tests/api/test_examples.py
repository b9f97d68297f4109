"""The examples of the API, run: those of the package's own docstring and those of README."""

from __future__ import annotations

import doctest
import re
import shutil
from pathlib import Path

import pytest

import maskviz
from maskviz import demo

ROOT = Path(__file__).parents[2]


def test_the_packages_examples_are_right() -> None:
    failed, tried = doctest.testmod(maskviz)
    assert tried >= 3
    assert failed == 0


def test_readmes_examples_are_right(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one go, since a block may use what one before it made; in a folder that has the reader's model."""
    shutil.copytree(demo.folder("gpt"), tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(>>> .*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "README", "README.md", 0)
    assert len(examples.examples) >= 8
    result = doctest.DocTestRunner().run(examples)
    assert result.failed == 0
    assert {path.name for path in tmp_path.iterdir()} == {"my-model", "run.npz", "figure.pdf"}
