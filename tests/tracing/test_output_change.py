"""Outputs under two backends, compared by a loop, and the model left as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskviz import demo
from maskviz.core.errors import CannotTraceError
from maskviz.core.run.trace import Batch
from maskviz.core.words import Backend, Role
from maskviz.load.models.model import load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import encode
from maskviz.load.texts.request import Request
from maskviz.tracing.calling import Calling
from maskviz.tracing.experiments.output_change import output_change, plain_output

KEEP = np.array([[True, True, True], [True, True, False]])
SIDE = Batch(
    np.ones((2, 3), np.int64), KEEP, (("a", "b", "c"),) * 2, tuple(tuple(Role.TEXT for _ in row) for row in KEEP)
)


def test_the_change_of_logits_is_what_a_loop_over_real_tokens_says() -> None:
    torch.manual_seed(0)
    a, b = torch.randn(2, 3, 5), torch.randn(2, 3, 5)
    change = output_change(a, b, SIDE, True)
    assert change is not None
    divergences, flipped, largest = [], 0, 0.0
    for row, place in np.argwhere(KEEP).tolist():
        one, other = (np.exp(each[row, place].double().numpy()) for each in (a, b))
        one, other = one / one.sum(), other / other.sum()
        divergences.append(float((one * np.log(one / other)).sum()))
        flipped += int(one.argmax() != other.argmax())
        largest = max(largest, float((a[row, place] - b[row, place]).abs().max()))
    assert (change.predictions, change.flipped) == (5, flipped)
    assert change.largest == pytest.approx(largest)
    assert change.mean_divergence == pytest.approx(np.mean(divergences))
    assert change.largest_divergence == pytest.approx(max(divergences))


def test_what_is_no_prediction_has_a_largest_difference_alone() -> None:
    change = output_change(torch.zeros(2, 3, 5), torch.ones(2, 3, 5), SIDE, False)
    assert change is not None
    assert (change.largest, change.predictions) == (1.0, 0)
    assert output_change(torch.zeros(2, 3, 5), torch.zeros(2, 3, 4), SIDE, True) is None
    assert output_change(None, torch.zeros(2, 3, 4), SIDE, True) is None


@pytest.fixture(scope="module")
def loaded() -> Any:
    source = resolve("demo:gpt")
    return load_model(source, load_config(source), device="cpu")


def test_a_model_runs_under_another_backend_and_is_put_back(loaded: Any) -> None:
    inputs = encode(loaded, Request(texts=("The cat sat on the mat",))).inputs
    before = loaded.model.config._attn_implementation
    eager = plain_output(loaded.model, inputs, loaded.card, Calling(), Backend.EAGER)
    assert eager is not None
    assert loaded.model.config._attn_implementation == before
    from transformers import AutoModelForCausalLM

    own = AutoModelForCausalLM.from_pretrained(Path(demo.folder("gpt")), attn_implementation="eager")
    with torch.no_grad():
        assert torch.equal(eager, own(**inputs).logits)


def test_a_backend_that_is_not_here_is_said_and_the_model_put_back(loaded: Any) -> None:
    inputs = encode(loaded, Request(texts=("The cat",))).inputs
    before = loaded.model.config._attn_implementation
    with pytest.raises(CannotTraceError, match="cannot be run under flash_attention_2"):
        plain_output(loaded.model, inputs, loaded.card, Calling(), Backend.FLASH)
    assert loaded.model.config._attn_implementation == before
