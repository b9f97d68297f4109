"""The examples of the API, run: those of the package's own docstring and those of the pages."""

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


@pytest.mark.parametrize(
    ("page", "least", "written"),
    [
        ("README.md", 3, set()),
        ("docs/python.md", 30, {"run.npz", "figure.pdf", "mask.json"}),
        ("docs/questions/answers.md", 8, set()),
        ("docs/own-module.md", 9, set()),
        ("docs/keras.md", 8, set()),
        ("docs/questions/answers.zh.md", 6, set()),
    ],
)
def test_a_pages_examples_are_right(
    page: str, least: int, written: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one go, since a block may use what one before it made; in a folder that has the reader's model."""
    shutil.copytree(demo.folder("gpt"), tmp_path / "my-model")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(>>> .*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)
    examples = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, page, page, 0)
    assert len(examples.examples) >= least
    result = doctest.DocTestRunner().run(examples)
    assert result.failed == 0
    assert {path.name for path in tmp_path.iterdir()} == {"my-model", *written}


def test_no_page_has_examples_that_are_not_run() -> None:
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    having = {str(page.relative_to(ROOT)) for page in pages if "```python\n>>>" in page.read_text("utf-8")}
    answers = {"docs/questions/answers.md", "docs/questions/answers.zh.md"}
    assert having == {"README.md", "docs/python.md", "docs/own-module.md", "docs/keras.md", *answers}
