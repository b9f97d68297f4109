"""Every private name the seam relies on is where it was, and what has moved is said."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
import transformers

import maskviz
from maskviz.core.errors import CannotTraceError
from maskviz.tracing.seam import implementations, masks
from maskviz.tracing.seam.canaries import CANARIES, what_has_moved
from maskviz.tracing.seam.replacing import Canary, MovedError
from tests.architectures import tiny

PACKAGE = Path(maskviz.__file__).parent


@pytest.mark.parametrize("canary", CANARIES, ids=lambda canary: canary.name)
def test_the_installed_release_keeps_everything_where_it_was(canary: Canary) -> None:
    assert canary.trouble() == ""


def test_every_piece_of_the_seam_has_a_canary() -> None:
    pieces = {path.stem for path in (PACKAGE / "tracing" / "seam").glob("*.py")}
    without = {"__init__", "canary", "canaries", "replacing"}  # they name nothing private
    watched = {canary.sings.__module__.rpartition(".")[2] for canary in CANARIES}
    assert pieces - without == watched


@pytest.mark.parametrize("raises", [AttributeError, ImportError, KeyError, TypeError])
def test_a_canary_that_falls_silent_names_the_release(raises: type[Exception]) -> None:
    def silent() -> bool:
        raise raises("gone")

    said = Canary("eager attention", "transformers", silent).trouble()
    assert said == f"transformers {transformers.__version__}: eager attention is not where it was"


def test_a_library_is_said_by_its_own_release() -> None:
    assert Canary("a mode", "torch", lambda: False).trouble().startswith(f"torch {torch.__version__}: ")


def test_a_model_whose_eager_attention_moved_is_not_heard_by_a_weaker_tap(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama")
    monkeypatch.setattr(masks, "EAGER", "eager_attention_elsewhere")
    with pytest.raises(CannotTraceError, match="eager attention is not where it was") as raised:
        maskviz.trace(model, ids=[[5, 6, 7]])
    assert "README" in (raised.value.hint or "")
    assert any("eager attention" in said for said in what_has_moved())


def test_configs_that_keep_their_implementation_elsewhere_are_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(implementations, "_ATTENTION", "_attn_elsewhere")
    with pytest.raises(MovedError, match="which attention implementation a config chooses"):
        maskviz.trace(tiny("bert"), ids=[[5, 6, 7]])


def _private_names(path: Path) -> list[str]:
    """Names of other people's that a file of ours reaches for although they are private."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        name = ""
        if isinstance(node, ast.Attribute) and not (isinstance(node.value, ast.Name) and node.value.id in _OURS):
            name = node.attr
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ("torch", "transformers"):
            parts = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
            name = next((part for part in parts if _is_private(part)), "")
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            named = node.args[1]
            name = str(named.value) if isinstance(named, ast.Constant) else ""
        if _is_private(name):
            found.append(f"{path.relative_to(PACKAGE)} {name}")
    return found


_OURS = ("self", "cls")
# Of ours, of torch's documented ways for subclasses, of accelerate's documented hooks, of numpy's and Python's.
_ALLOWED = ("_orig_mod", "_hf_hook", "_repr_html_", "_repr_png_")


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in _ALLOWED


ROOMS = ("ablate", "api", "conventions", "load", "tracing")
FILES = [path for room in ROOMS for path in sorted((PACKAGE / room).rglob("*.py")) if path.parent.name != "seam"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_private_names_are_known_to_the_seam_alone(path: Path) -> None:
    assert _private_names(path) == []
