"""Several processes, and several devices, give what one process and one device give."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from accelerate.big_modeling import cpu_offload, dispatch_model
from transformers import PreTrainedModel

from maskviz.ablate.gradient import gradients_of
from maskviz.core.errors import ExitCode
from maskviz.core.machine import Share
from maskviz.core.words import Parallel
from maskviz.load.models.model import quiet
from tests.ablate import jobs
from tests.ablate.jobs import Examined
from tests.ablate.processes import results_of
from tests.architectures import VOCABULARY, tiny
from tests.tracing.conftest import loaded_tiny, random_rows

pytestmark = pytest.mark.slow("starts several processes that import torch anew")

_CLOSE = 1e-6


_NUMBERS: dict[str, Any] = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "max_position_embeddings": 64,
    "pad_token_id": 0,
}


def gathered_before_attending() -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = transformers.Phi3ForCausalLM(transformers.Phi3Config(**_NUMBERS, num_key_value_heads=2))
    return model


def heads_side_by_side() -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = transformers.GPTNeoXForCausalLM(transformers.GPTNeoXConfig(**_NUMBERS))
    return model


def examined(model: PreTrainedModel, folder: Path, rows: tuple[tuple[int, ...], ...]) -> Examined:
    quiet()
    model.save_pretrained(folder / "model")
    return Examined(str(folder / "model"), rows)


def same(one: Any, other: Any) -> None:
    """Values, or values within values, are the same up to rounding."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for name in one:
            same(one[name], other[name])
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for mine, yours in zip(one, other, strict=True):
            same(mine, yours)
    elif isinstance(one, np.ndarray):
        np.testing.assert_allclose(one, other, rtol=_CLOSE, atol=_CLOSE)
    else:
        assert one == other


@pytest.mark.parametrize("build", [lambda: tiny("llama"), heads_side_by_side, gathered_before_attending])
def test_a_model_dealt_out_over_two_processes_is_seen_whole(
    build: Callable[[], PreTrainedModel], tmp_path: Path
) -> None:
    given = examined(build(), tmp_path, random_rows((5, 9)))
    alone = jobs.seen_of(given.loaded(), given.rows)
    for rank in results_of("dealt_out", given, tmp_path):
        assert rank.heads == alone.heads
        same(rank.patterns, alone.patterns)
        same(rank.visible, alone.visible)
        assert rank.rules == alone.rules
        assert rank.drift < _CLOSE
        same(rank.gated_patterns, alone.gated_patterns)
        same(rank.gated_outputs, alone.gated_outputs)
        same(rank.effects, alone.effects)
        same(rank.gradients, alone.gradients)
        assert rank.proven and alone.proven


@pytest.mark.parametrize("lengths", [(5, 9, 7), (6, 4), (5,)], ids=["uneven", "even", "one text"])
def test_texts_split_over_two_processes_have_the_effects_they_have_in_one(
    lengths: tuple[int, ...], tmp_path: Path
) -> None:
    given = examined(tiny("llama"), tmp_path, random_rows(lengths))
    effects = jobs.effects_in_one(given)
    subject = jobs.subject_of(given.loaded(), given.rows)
    slopes = gradients_of(subject, subject.sites())
    ranks = results_of("texts_split", given, tmp_path)
    assert sorted(number for numbers, _, _ in ranks for number in numbers) == list(range(len(lengths)))
    for _, everyones, everyones_slopes in ranks:
        same(everyones, effects)
        same(everyones_slopes, slopes)


def test_a_process_that_fails_ends_one_that_waits_for_it_with_its_code(tmp_path: Path) -> None:
    first, second = results_of("second_fails", None, tmp_path)
    assert second == ("CannotTraceError", ExitCode.CANNOT_TRACE)
    assert first == ("FailedElsewhereError", ExitCode.CANNOT_TRACE)


def test_each_text_is_in_one_share() -> None:
    for world in (1, 2, 5):
        for count in (0, 1, 4, 7):
            shares = [list(Share(rank, world).numbers(count)) for rank in range(world)]
            assert sorted(number for share in shares for number in share) == list(range(count))
            assert max(map(len, shares)) - min(map(len, shares)) <= 1


def offloaded(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The model with its weights in memory that is brought in module by module."""
    moved: PreTrainedModel = cpu_offload(model, execution_device=torch.device("cpu"))
    assert moved.device.type == "meta"
    return moved


def on_disk(model: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """The model with its middle layer on the disk."""
    places = {"model.embed_tokens": "cpu", "model.norm": "cpu", "lm_head": "cpu", "model.rotary_emb": "cpu"}
    layers = {f"model.layers.{layer}": "disk" if layer == 1 else "cpu" for layer in range(3)}
    moved: PreTrainedModel = dispatch_model(model, {**places, **layers}, offload_dir=str(folder / "disk"))
    return moved


@pytest.mark.parametrize("spread", [offloaded, on_disk])
def test_a_model_whose_weights_come_in_as_they_are_used_is_seen_as_one_that_holds_them(
    spread: Callable[[PreTrainedModel, Path], PreTrainedModel], tmp_path: Path
) -> None:
    rows = random_rows((5, 9))
    held = loaded_tiny("llama")
    moved = replace(held, model=spread(copy.deepcopy(held.model), tmp_path))
    before = {path: vars(module).get("forward") for path, module in moved.model.named_modules()}
    one, other = jobs.seen_of(moved, rows), jobs.seen_of(held, rows)
    assert {path: vars(module).get("forward") for path, module in moved.model.named_modules()} == before
    assert one.rules == other.rules
    for name in ("heads", "patterns", "visible", "gated_patterns", "gated_outputs", "effects", "gradients"):
        same(getattr(one, name), getattr(other, name))


def test_a_model_spread_by_accelerate_is_seen_as_one_that_is_not(tmp_path: Path) -> None:
    given = examined(tiny("llama"), tmp_path, random_rows((5, 9)))
    one, other = (jobs.seen_of(given.loaded(parallel), given.rows) for parallel in (Parallel.AUTO, None))
    same(one.patterns, other.patterns)
    same(one.effects, other.effects)
