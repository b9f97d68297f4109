"""Ablations that are right and wrong are told apart; the wrong ones are made here as people make them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from maskviz.ablate.mistakes import held_against
from maskviz.core.checks.case import Ablated
from maskviz.core.errors import UsageError
from maskviz.core.run.heads import parse_head_mask
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded, Request, encode
from maskviz.tracing.run import head_groups, head_shapes, run
from tests.tracing.conftest import loaded_tiny, random_rows

_WIDTH = 8  # of a head in every tiny model


def asked(model_type: str, spec: str, make: Callable[[Loaded, Encoded], torch.Tensor]) -> Ablated:
    loaded = loaded_tiny(model_type)
    encoded = encode(loaded, Request(ids=random_rows((5, 9))))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    mask = parse_head_mask(spec, head_shapes(trace), head_groups(trace))
    with torch.no_grad():
        values = make(loaded, encoded).numpy()
    return held_against(loaded.model, encoded.inputs, trace, mask, ("out.npy", values))


def hooked(path: str, heads: list[int], before: bool) -> Callable[[Loaded, Encoded], torch.Tensor]:
    """Logits with slices of a projection's inputs (right) or of its outputs (wrong) set to zero."""

    def make(loaded: Loaded, encoded: Encoded) -> torch.Tensor:
        def cleared(tensor: torch.Tensor) -> torch.Tensor:
            tensor = tensor.clone()
            for head in heads:
                tensor[..., head * _WIDTH : (head + 1) * _WIDTH] = 0
            return tensor

        module: Any = loaded.model.get_submodule(path)
        if before:
            handle = module.register_forward_pre_hook(lambda _, given: (cleared(given[0]), *given[1:]))
        else:
            handle = module.register_forward_hook(lambda _, __, output: cleared(output))
        try:
            logits: torch.Tensor = loaded.model(**encoded.inputs).logits
            return logits
        finally:
            handle.remove()

    return make


GPT2, LLAMA = "transformer.h.1.attn.c_proj", "model.layers.1.self_attn.o_proj"


def test_slices_of_the_projections_input_are_the_heads() -> None:
    one = asked("gpt2", "1:3", hooked(GPT2, [3], before=True))
    assert one.right < 1e-5 < one.noticeable < one.plain
    assert one.after_projection is not None and one.after_projection > one.noticeable


def test_slices_of_the_projections_output_are_told_from_the_heads() -> None:
    one = asked("gpt2", "1:3", hooked(GPT2, [3], before=False))
    assert one.after_projection is not None and one.after_projection < 1e-5
    assert one.right > one.noticeable


def test_heads_taken_in_turn_are_told_from_a_group() -> None:
    one = asked("llama", "kv:1.0", hooked(LLAMA, [0, 2], before=True))  # 4 heads, 2 key heads
    assert one.in_turn is not None and one.in_turn < 1e-5
    assert one.right > one.noticeable
    one = asked("llama", "kv:1.0", hooked(LLAMA, [0, 1], before=True))
    assert one.right < 1e-5
    assert one.in_turn is not None and one.in_turn > one.noticeable


@pytest.mark.parametrize(("model_type", "spec"), [("gpt2", "1:3"), ("llama", "1:0"), ("llama", "kv:1.0,1")])
def test_without_whole_groups_there_is_no_other_turn(model_type: str, spec: str) -> None:
    path = GPT2 if model_type == "gpt2" else LLAMA
    assert asked(model_type, spec, hooked(path, [0], before=True)).in_turn is None


def test_outputs_of_another_batch_are_refused() -> None:
    with pytest.raises(UsageError, match=r"\[2, 3, 99\]"):
        asked("gpt2", "1:3", lambda _, __: torch.zeros(2, 3, 99))
    with pytest.raises(UsageError, match=r"out\.npy"):
        asked("gpt2", "1:3", lambda _, __: torch.as_tensor(np.zeros(7)))
