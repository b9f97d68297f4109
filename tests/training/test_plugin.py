"""The plugin of pytest: a test of a user's that fails reads like the page of a check."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch

import maskviz
from maskviz.testing import assert_masks, first_batches

RIGHT = {"input_ids": torch.tensor([[5, 6, 7], [5, 6, 0]]), "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]])}
WRONG = {**RIGHT, "attention_mask": 1 - RIGHT["attention_mask"]}


def test_a_right_batch_passes_and_a_wrong_one_fails_with_the_page_of_a_check() -> None:
    assert_masks("demo:bert", RIGHT)
    with pytest.raises(AssertionError) as raised:
        assert_masks("demo:bert", WRONG)
    assert str(raised.value) == str(maskviz.check("demo:bert", WRONG))
    with pytest.raises(maskviz.MaskvizError, match="is no severity"):
        assert_masks("demo:bert", RIGHT, fail_on="never")


def test_first_batches_are_those_of_a_loader_or_of_a_data_module() -> None:
    class Module:
        ready = False

        def setup(self, stage: str) -> None:
            self.ready = stage == "fit"

        def train_dataloader(self) -> list[int]:
            return [1, 2, 3, 4] if self.ready else []

    assert first_batches([1, 2, 3, 4], 2) == [1, 2]
    assert first_batches(Module()) == [1, 2, 3]
    with pytest.raises(maskviz.MaskvizError, match="yields no batch"):
        first_batches([])


def test_the_package_brings_the_plugin() -> None:
    (found,) = (one for one in entry_points(group="pytest11") if one.name == "maskviz")
    assert found.load().__name__ == "maskviz.pytest_plugin"


@pytest.mark.slow("starts a pytest of its own")
def test_fixtures_are_there_and_a_failure_is_the_page(tmp_path: Path) -> None:
    (tmp_path / "test_own.py").write_text(
        "import torch\n"
        "IDS = torch.tensor([[5, 6, 7], [5, 6, 0]])\n"
        "def test_right(assert_masks, first_batches):\n"
        "    for batch in first_batches([{'input_ids': IDS, 'attention_mask': (IDS > 0).long()}]):\n"
        "        assert_masks('demo:bert', batch)\n"
        "def test_wrong(assert_masks):\n"
        "    assert_masks('demo:bert', {'input_ids': IDS, 'attention_mask': (IDS == 0).long()})\n",
        encoding="utf-8",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert "1 failed, 1 passed" in done.stdout
    assert "T1" in done.stdout or "P6" in done.stdout
    assert "maskviz/testing.py" not in done.stdout
