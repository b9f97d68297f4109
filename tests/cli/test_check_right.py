"""Batches that are right: nothing is found in any of them."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.architectures import ARCHITECTURES, ENCODER_DECODERS, tiny
from tests.conftest import Response
from tests.tracing.conftest import random_rows

_LENGTHS = (5, 9, 7)
# Learned positions that no argument can put right: padding on the left is no right batch.
SHIFTED = {("bart", "left")}


@cache
def _takes_positions(model_type: str) -> bool:
    return "position_ids" in inspect.signature(tiny(model_type).forward).parameters


@pytest.fixture(scope="session")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Folder of a tiny model, saved when it is first asked for."""

    @cache
    def folder(model_type: str) -> str:
        path = tmp_path_factory.mktemp(model_type)
        tiny(model_type).save_pretrained(path)
        return str(path)

    return folder


def batch_file(folder: Path, model_type: str, side: str) -> str:
    """Rows padded on a side as they should be, or a single row without padding."""
    lines = []
    for number, row in enumerate(random_rows(_LENGTHS)):
        count = max(_LENGTHS) - len(row)
        left, right = (count, 0) if side == "left" else (0, count)
        line: dict[str, Any] = {
            "input_ids": [0] * left + list(row) + [0] * right,
            "attention_mask": [0] * left + [1] * len(row) + [0] * right,
        }
        if side == "left" and _takes_positions(model_type):
            line["position_ids"] = [0] * left + list(range(len(row)))
        if model_type in ENCODER_DECODERS:
            target = random_rows((4, 6, 3), seed=1)[number]
            line["decoder_input_ids"] = list(target) + [0] * (6 - len(target))
            line["decoder_attention_mask"] = [1] * len(target) + [0] * (6 - len(target))
        lines.append(line)
    path = folder / f"{side}.jsonl"
    path.write_text("\n".join(map(json.dumps, lines[1:2] if side == "none" else lines)))
    return str(path)


@pytest.mark.parametrize("side", ["left", "right", "none"])
@pytest.mark.parametrize("model_type", sorted(ARCHITECTURES))
def test_nothing_is_found_in_a_batch_that_is_right(
    model_type: str,
    side: str,
    saved: Callable[[str], str],
    maskviz: Callable[..., Response],
    tmp_path: Path,
) -> None:
    purpose = ["--for", "forward"] if side == "right" else []
    file = batch_file(tmp_path, model_type, side)
    if (model_type, side) in SHIFTED:
        answer = maskviz("check", "-m", saved(model_type), "--file", file, "--fail-on", "note", expect=5)
        assert "P11 warning padding-moves-outputs" in answer.stdout
        assert "fix: Pad on the right: the class takes no positions" in answer.stdout
        return
    answer = maskviz("check", "-m", saved(model_type), "--file", file, *purpose, "--fail-on", "note")
    assert "no findings" in answer.stdout
    assert "not run" not in answer.stdout
