"""Prefixes and images seen whole: what token types do to a mask is what the model itself attends to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import masking_utils

from maskviz.core.rules.reasons import Reason
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Request
from tests.image_text import tiny_image_text
from tests.traced import Traced, traced
from tests.tracing.conftest import random_rows

# Gemma 3: 1 is an image. PaliGemma: 0 is the prefix.
TYPES = {
    "gemma3": ((0, 0, 1, 1, 1, 0, 1, 1), (1, 1, 0, 0, 0)),
    "paligemma": ((0, 0, 0, 1, 1, 1, 1, 1), (0, 0, 1, 1, 1)),
    "paligemma2": ((0, 0, 0, 1, 1, 1, 1, 1), (0, 0, 1, 1, 1)),
}
RULES = {
    "gemma3": {"(causal ∨ same span) ∧ padding", "window(4) ∧ (causal ∨ same span) ∧ padding"},
    "paligemma": {"(causal ∨ same span) ∧ padding"},
    "paligemma2": {"(causal ∨ same span) ∧ padding", "((causal ∧ window(4)) ∨ same span) ∧ padding"},
}
# In transformers 5.0 an image of Gemma 3 reaches over the border of a window, in 5.23 it does not.
OLDER_RULES = {
    **RULES,
    "gemma3": {"(causal ∨ same span) ∧ padding", "((causal ∧ window(4)) ∨ same span) ∧ padding"},
}
NEW = hasattr(masking_utils, "remap_positions_for_packed_sequence")


def loaded(name: str) -> Loaded:
    model = tiny_image_text(name)
    return Loaded(model, None, card_of(model.config, name, type(model).__name__))


def with_types(name: str, types: tuple[tuple[int, ...], ...]) -> Traced:
    return traced(loaded(name), Request(ids=random_rows((8, 5)), token_types=types, padding_side="left"))


@pytest.mark.parametrize("name", TYPES)
def test_spans_are_where_the_model_attends_and_their_rule_is_read(name: str) -> None:
    _, encoded, trace = with_types(name, TYPES[name])
    with torch.no_grad():
        own: Any = tiny_image_text(name, attention="eager")(**encoded.inputs, output_attentions=True).attentions
    assert {str(call.mask.rule) for call in trace.calls} == (RULES if NEW else OLDER_RULES)[name]
    for call, maps in zip(trace.calls, [one.numpy() for one in own], strict=True):
        real = trace.real_queries(call)
        assert call.mask.agrees is True
        assert call.pattern is not None
        rows, own_rows = (array.transpose(0, 2, 1, 3)[real] for array in (call.pattern, maps))
        np.testing.assert_allclose(rows, own_rows, atol=1e-6, rtol=0)
        visible = np.broadcast_to(call.mask.visible, maps.shape).transpose(0, 2, 1, 3)[real]
        assert np.array_equal(visible, own_rows > 0)
    assert trace.notes == ()
    assert trace.drift is not None
    assert trace.drift < 1e-5


@pytest.mark.parametrize("name", TYPES)
def test_a_span_sees_itself_whole_and_the_rest_of_the_future_stays_future(name: str) -> None:
    *_, trace = with_types(name, TYPES[name])
    visible, reasons = trace.calls[0].mask.visible[0, 0], trace.calls[0].mask.reasons[0, 0]
    inside = 1 if name == "gemma3" else 0
    span = [place for place, kind in enumerate(TYPES[name][0]) if kind == inside][:3]
    assert visible[np.ix_(span, span)].all()
    for query in range(8):
        for key in range(query + 1, 8):
            if not visible[query, key]:
                assert reasons[query, key] == Reason.FUTURE


def test_without_token_types_the_models_own_default_is_shown() -> None:
    """Without types Gemma 3 is causal. PaliGemma: causal in transformers 5.23, one whole prefix in 5.0."""
    *_, trace = with_types("gemma3", ())
    assert str(trace.calls[0].mask.rule) == "causal ∧ padding"
    *_, trace = with_types("paligemma", ())
    assert str(trace.calls[0].mask.rule) == "causal ∧ padding" if NEW else "(causal ∨ same span) ∧ padding"


def test_token_types_are_kept_with_the_batch() -> None:
    _, encoded, trace = with_types("gemma3", TYPES["gemma3"])
    assert trace.batch.token_types is not None
    assert trace.batch.token_types.tolist() == [list(TYPES["gemma3"][0]), [0, 0, 0, *TYPES["gemma3"][1]]]
    assert torch.equal(encoded.inputs["token_type_ids"], torch.tensor(trace.batch.token_types.copy()))
