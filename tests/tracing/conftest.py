"""Every promised architecture traced once on a padded batch."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from transformers import PreTrainedModel

from maskviz.core.run.trace import Trace
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded, Request
from tests.architectures import ARCHITECTURES, ENCODER_DECODERS, LEFT_PADDED, MORE, VOCABULARY, tiny
from tests.traced import traced


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A tiny model, what it was called with, and its trace."""

    model_type: str
    model: PreTrainedModel
    loaded: Loaded
    encoded: Encoded
    trace: Trace


def random_rows(lengths: tuple[int, ...], seed: int = 0) -> tuple[tuple[int, ...], ...]:
    """Rows of ids without special tokens."""
    generator = np.random.default_rng(seed)
    return tuple(tuple(generator.integers(3, VOCABULARY, length).tolist()) for length in lengths)


def padded_request(model_type: str) -> Request:
    """Three rows of different length, padded as the model is used to."""
    return Request(
        ids=random_rows((5, 9, 7)),
        target_ids=random_rows((4, 6, 3), seed=1) if model_type in ENCODER_DECODERS else (),
        padding_side="left" if model_type in LEFT_PADDED else "right",
    )


def loaded_tiny(model_type: str) -> Loaded:
    model = tiny(model_type)
    return Loaded(model, None, card_of(model.config, model_type, type(model).__name__))


@cache
def example_of(model_type: str) -> Example:
    loaded = loaded_tiny(model_type)
    _, encoded, trace = traced(loaded, padded_request(model_type))
    return Example(model_type, loaded.model, loaded, encoded, trace)


@pytest.fixture(params=sorted(ARCHITECTURES | MORE))
def example(request: pytest.FixtureRequest) -> Example:
    return example_of(request.param)
