"""What starts is what is needed: help without torch, saved runs without it too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow("starts processes that import torch anew")

HEAVY = ("torch", "transformers", "matplotlib", "numpy")

# Blocks the import of some libraries, then runs the command line.
_WITHOUT = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {blocked!r}:
            raise ImportError(f"{{name}} must not be needed")
sys.meta_path.insert(0, Refuse())
sys.argv = ["maskviz", *{arguments!r}]
from maskviz.__main__ import main
main()
"""


def run_without(blocked: tuple[str, ...], *arguments: str) -> subprocess.CompletedProcess[str]:
    code = _WITHOUT.format(blocked=set(blocked), arguments=arguments)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("show", "--help"),
        ("view", "--help"),
        ("mask", "--help"),
        ("convert", "--help"),
        ("heads", "--help"),
        ("explore", "--help"),
    ],
)
def test_help_needs_no_heavy_library(arguments: tuple[str, ...]) -> None:
    done = run_without(HEAVY, *arguments)
    assert done.returncode == 0, done.stderr
    assert "maskviz" in done.stdout


def test_a_blocked_library_that_is_needed_is_noticed() -> None:
    done = run_without(("torch",), "show", "a text")
    assert "torch must not be needed" in done.stderr


def test_a_saved_run_is_drawn_without_torch(saved_run: Path, tmp_path: Path) -> None:
    figure = tmp_path / "figure.svg"
    done = run_without(("torch", "transformers"), "view", str(saved_run), "-o", str(figure))
    assert done.returncode == 0, done.stderr
    assert figure.read_text(encoding="utf-8").startswith("<?xml")


def test_a_typed_rule_is_drawn_without_torch(tmp_path: Path) -> None:
    figure = tmp_path / "figure.svg"
    done = run_without(("torch", "transformers"), "mask", "causal & window(9)", "--length", "5000", "-o", str(figure))
    assert done.returncode == 0, done.stderr
    assert figure.read_text(encoding="utf-8").startswith("<?xml")


def test_core_and_its_readers_import_without_torch() -> None:
    code = (
        "import sys, maskviz.analyse.comparison, maskviz.view.show, maskviz.store.archive, maskviz.render.image.page;"
        "print([name for name in ('torch', 'transformers') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
