"""A real Jupyter kernel: what each answer shows below its cell, what a mistake looks like, and the gallery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = pytest.mark.slow("starts a Jupyter kernel")

GALLERY = Path(__file__).parents[2] / "docs" / "gallery.ipynb"
TRACE = 'import maskviz\ntrace = maskviz.trace("demo:gpt", "The cat sat on the mat because the cat was tired")'


def run(*cells: str, errors: bool = False) -> list[list[Any]]:
    """The outputs of each cell."""
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    NotebookClient(notebook, timeout=300, kernel_name="python3", allow_errors=errors).execute()
    return [cell.outputs for cell in notebook.cells]


@pytest.fixture(scope="module")
def shown() -> list[list[Any]]:
    return run(
        TRACE,
        "trace",
        'maskviz.heads("demo:gpt", "The cat sat on the mat. The cat sat on the mat.")',
        'maskviz.check("demo:gpt", ["a", "b c"])',
        'maskviz.importance("demo:gpt", "The cat sat on the mat")',
        "trace.figure()",
        "trace.show()",
        "print(maskviz.explain(trace, query=2, key=6))",
    )


def test_no_answer_brings_a_warning(shown: list[list[Any]]) -> None:
    assert [output for outputs in shown for output in outputs if output.get("name") == "stderr"] == []


@pytest.mark.parametrize("cell", [1, 2, 3, 4, 5])
def test_an_answer_is_one_picture(shown: list[list[Any]], cell: int) -> None:
    (output,) = shown[cell]
    assert output.output_type == "execute_result"
    assert "image/png" in output.data


def test_a_trace_brings_the_report_too(shown: list[list[Any]]) -> None:
    (output,) = shown[1]
    assert "<iframe sandbox" in output.data["text/html"]


def test_show_is_one_output(shown: list[list[Any]]) -> None:
    (output,) = shown[6]
    assert output.output_type == "stream"
    assert "heads that stand out" in output.text
    assert "\x1b[" in output.text  # colours, which notebooks draw


def test_printing_says_what_the_shell_prints(shown: list[list[Any]]) -> None:
    (output,) = shown[7]
    assert "future" in output.text


def test_a_mistake_is_two_lines_and_the_traceback_comes_on_request() -> None:
    outputs = run(
        TRACE,
        "trace.show(layer=99)",
        "import os; os.environ['MASKVIZ_TRACEBACK'] = '1'",
        "trace.show(layer=99)",
        errors=True,
    )
    (short,), (long,) = outputs[1], outputs[3]
    assert short.output_type == "error"
    assert len(short.traceback) == 2
    assert short.traceback[0] == "UsageError: layer 99 does not exist"
    assert short.traceback[1].startswith("  hint: ")
    assert len("\n".join(long.traceback)) > 1000


def test_the_gallery_runs_and_each_answer_is_shown() -> None:
    notebook = nbformat.read(GALLERY, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": "."}}).execute()
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(len(cell.outputs) == 1 for cell in code), [cell.source for cell in code if len(cell.outputs) != 1]
    pictures = [cell for cell in code if "image/png" in cell.outputs[0].get("data", {})]
    assert len(pictures) == 7
