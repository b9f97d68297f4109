"""Models of other libraries are heard as they say it themselves, and their heads silenced as nothing reads them.

Each library is looked at in a process of its own: transformers does other things once timm or torchvision is there.
"""

from __future__ import annotations

import importlib.machinery
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tools.module_cases.case import Built, Case, Row, measured
from tools.module_cases.libraries import FOLDER
from tools.module_cases.of_libraries import CASES
from tools.module_cases.of_torch import cases
from tools.module_coverage import is_right, page

ROOT = Path(__file__).parents[3]
# What is heard of each, and how many attentions there are, in the order of the cases.
EXPECTED = {
    "timm": ["sdpa 2", "softmax 2", "sdpa 2", "softmax 2", "sdpa 4", "softmax 4", "softmax, sdpa 3", "softmax 3"],
    "torchvision": ["nn.MultiheadAttention 2", "softmax 4", "softmax 4", "softmax 4"],
    "diffusers": ["sdpa 8", "softmax 8", "sdpa 2", "sdpa 2", "sdpa 2", "sdpa 2"],
    "x_transformers": ["sdpa 2", "softmax 2", "softmax 2", "softmax 2", "softmax 2"],
    "sentence_transformers": ["sdpa 2"],
    "open_clip": ["nn.MultiheadAttention 4"],
    "einops": ["softmax 1"],
}


def rows_of(library: str) -> list[Row]:
    done = subprocess.run(
        [sys.executable, "-m", "tools.module_coverage", "--only", library, "--json"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return [Row(**one) for one in json.loads(done.stdout.splitlines()[-1])]


@pytest.mark.slow("a process of its own for each library")
@pytest.mark.parametrize("library", CASES)
def test_models_of_a_library_are_heard_as_they_say_it(library: str) -> None:
    if importlib.machinery.PathFinder.find_spec(library, [*sys.path, FOLDER]) is None:
        pytest.skip(f"{library} is not installed: tests/libraries.txt says how to have it")
    rows = rows_of(library)
    assert [(row.name, row.failed) for row in rows if not is_right(row)] == []
    heard = [f"{row.heard.replace('scaled_dot_product_attention', 'sdpa')} {row.calls}" for row in rows]
    assert heard == EXPECTED[library]
    assert all(row.silenced is not None for row in rows)


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.name)
@pytest.mark.filterwarnings(
    "ignore:flex_attention called without torch.compile:UserWarning", "ignore:enable_nested_tensor is True:UserWarning"
)
def test_ways_to_attend_that_need_torch_alone_are_heard_as_they_say_it(case: Case) -> None:
    row = measured(case)
    assert is_right(row), row


def test_the_table_says_what_is_wrong() -> None:
    case = next(iter(cases()))
    built = case.build()

    def with_(**other: Any) -> Row:
        return measured(replace(case, build=lambda: replace_built(built, **other)))

    wrong = with_(weights=lambda: [one.flip(-1) for one in built.weights()])
    assert wrong.apart is not None and wrong.apart > 1e-2 and not is_right(wrong)
    other_heads = measured(replace(case, build=lambda: Rotated.of(built)))
    assert other_heads.silenced is not None and other_heads.silenced > 1e-2 and not is_right(other_heads)
    fewer = with_(weights=list)
    assert fewer.failed == "ValueError: 1 attentions were heard, the module says 0"
    text = page([measured(case), wrong, fewer])
    assert text.startswith("# Coverage of modules\n\n1 of 3 kinds of modules are heard as they say it themselves")
    assert "| ValueError: 1 attentions were heard, the module says 0 |" in text


def replace_built(built: Built, **other: Any) -> Built:
    return replace(built, **other)


class Rotated(torch.nn.Module):
    """An attention whose heads stand in another order behind it than in front."""

    def __init__(self, inner: torch.nn.Module) -> None:
        super().__init__()
        self.inner, self.mixed = inner, torch.nn.Linear(12, 12, bias=False)

    def forward(self, **given: Any) -> Any:
        return self.mixed(self.inner(**given)[0])

    @staticmethod
    def of(built: Built) -> Built:
        torch.manual_seed(1)
        return replace(built, module=Rotated(built.module).eval(), projections=("mixed",))
