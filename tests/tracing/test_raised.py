"""Whose mistake an error is: the model's is put into words, our own keeps its traceback."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaForCausalLM

import maskviz
from maskviz.core.errors import CannotTraceError
from maskviz.core.words import Backend
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded
from maskviz.load.models.weights import without_weights
from maskviz.load.texts.encode import encode
from maskviz.tracing import run
from maskviz.tracing.backends import kernels
from maskviz.tracing.backends.handing import hand_over
from maskviz.tracing.listen import recorder, taps
from tests.architectures import tiny
from tests.tracing.conftest import loaded_tiny, padded_request

IDS = {"input_ids": torch.tensor([[5, 6, 7, 8]])}


def wrong_shapes(*_: Any, **__: Any) -> Any:
    """A mistake that torch reports, three frames deep in its own code."""
    return torch.nn.functional.linear(torch.zeros(2, 3), torch.zeros(4, 5))


def wrong_key(*_: Any, **__: Any) -> Any:
    names: dict[str, Any] = {}
    return names["missing"]


def wrong_in_numpy(*_: Any, **__: Any) -> Any:
    return np.stack([np.zeros(2), np.zeros(3)])


MISTAKES = [wrong_shapes, wrong_key, wrong_in_numpy]
PLACES = [(taps, "to_floats"), (recorder, "visible_cells"), (run, "for_hand_written")]


def in_our_file(mistake: Callable[..., Any], module: Any) -> Callable[..., Any]:
    """The mistake as if a file of ours made it."""
    code = compile(f"def wrong(*a, **k):\n    return mistake_{mistake.__name__}(*a, **k)\n", module.__file__, "exec")
    names: dict[str, Any] = {f"mistake_{mistake.__name__}": _inlined(mistake, module)}
    exec(code, names)
    made: Callable[..., Any] = names["wrong"]
    return made


def _inlined(mistake: Callable[..., Any], module: Any) -> Callable[..., Any]:
    function: Any = mistake
    return FunctionType(function.__code__.replace(co_filename=module.__file__), function.__globals__)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.__name__)
@pytest.mark.parametrize(("module", "name"), PLACES, ids=lambda one: one if isinstance(one, str) else "")
def test_our_own_mistakes_keep_their_traceback_wherever_a_library_reports_them(
    monkeypatch: pytest.MonkeyPatch, module: Any, name: str, mistake: Callable[..., Any]
) -> None:
    monkeypatch.setattr(module, name, in_our_file(mistake, module))
    with pytest.raises((RuntimeError, KeyError, ValueError)) as raised:
        maskviz.trace(tiny("llama"), IDS)
    assert not isinstance(raised.value, CannotTraceError)


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda one: one.__name__)
def test_a_models_mistakes_are_put_into_words(monkeypatch: pytest.MonkeyPatch, mistake: Callable[..., Any]) -> None:
    model: Any = tiny("llama")
    monkeypatch.setattr(model.model.layers[1].mlp, "forward", mistake)
    with pytest.raises(CannotTraceError, match="LlamaForCausalLM fails on this input: "):
        maskviz.trace(model, IDS)


def test_a_mistake_of_the_model_inside_what_our_modes_hand_on_is_the_models() -> None:
    model: Any = tiny("bloom")
    model.transformer.h[0].self_attention.dense.weight = torch.nn.Parameter(torch.zeros(3, 3))
    with pytest.raises(CannotTraceError, match="fails on this input"):
        maskviz.trace(model, IDS)


def test_a_mistake_of_the_model_on_real_tensors_without_weights_is_the_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Frequencies of positions are real also where there are no weights: a config may cut them wrongly."""
    config: Any = tiny("llama").config
    model: Any = without_weights(lambda _: LlamaForCausalLM(config), config)
    loaded = Loaded(model, None, card_of(config, "llama", "LlamaForCausalLM"), invented=True)
    encoded = encode(loaded, padded_request("llama"))
    monkeypatch.setattr(model.model.layers[1].mlp, "forward", lambda _: torch.split(torch.arange(4.0), [1, 1]))
    with pytest.raises(CannotTraceError, match="RuntimeError: split_with_sizes"):
        run.run(model, encoded.inputs, encoded.batch, loaded.card)


def test_a_mask_the_framework_refuses_is_about_the_call() -> None:
    with pytest.raises(CannotTraceError, match="IndexError: index 3"):
        maskviz.trace(tiny("llama"), {**IDS, "attention_mask": torch.ones(1, 3, 4)})


def test_our_own_mistake_is_not_a_kernels_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loaded_tiny("llama")
    encoded = encode(loaded, padded_request("llama"))
    trace = maskviz.trace(loaded.model, encoded.inputs)
    monkeypatch.setattr(kernels, "flash_cells", in_our_file(wrong_key, kernels))
    with pytest.raises(KeyError, match="missing"):
        hand_over(loaded.model, encoded.inputs, trace, Backend.FLASH)
