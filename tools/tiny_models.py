"""A tiny random model of a type, the same every time, and the batch it is run on."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch
from transformers import PreTrainedConfig, PreTrainedModel

from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded, Request, encode
from tools.model_types import ModelType, generates
from tools.tiny_configs import tiny_configs
from tools.tiny_numbers import VOCABULARY, WORDS

LENGTHS, TARGET_LENGTHS = (11, 21, 16), (9, 14, 6)
MOST_PARAMETERS = 30_000_000
# Factors on the matrices, so that attention is not flat; the first that underflows nowhere is taken.
SHARPNESS = (4.0, 2.0, 1.0, 0.25)
# Types whose weights also say how many frames a token lasts: sharpened, thousands.
NOT_SHARPENED = {"fastspeech2_conformer", "fastspeech2_conformer_with_hifigan"}
# Types that want to know where on the page each token stands.
BOXES = {"bros": torch.float32, "udop": torch.float32}


class TooLargeError(Exception):
    """The rules made a model that is not tiny."""


@dataclass(frozen=True, slots=True, eq=False)
class Tiny:
    """What one type is tried with: a class, its config, and how its matrices are sharpened."""

    model_class: type[PreTrainedModel]
    config: PreTrainedConfig
    sharpness: float = 1.0

    def build(self, attention: str | None = None) -> PreTrainedModel:
        """A new model with the same weights every time; `attention` as in `from_config`."""
        config = copy.deepcopy(self.config)
        if attention is not None:
            config._attn_implementation = attention
        torch.manual_seed(0)
        model = self.model_class(config)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(self.sharpness)
        model.train(False)
        model.register_forward_pre_hook(_seed)
        return model

    def sharpened(self, factor: float) -> Tiny:
        """The same with matrices multiplied by a factor."""
        return replace(self, sharpness=factor)


def _seed(*_: object) -> None:
    """Some models draw random numbers when they run, such as Reformer's hashes: every run draws the same."""
    torch.manual_seed(1)
    np.random.seed(1)


def tinies(model_type: ModelType) -> Iterator[Tiny]:
    """The type's classes on its tiny config, best first.

    Raises:
        TooLargeError: the config makes a model of more than `MOST_PARAMETERS`.
    """
    wholes = list(tiny_configs(model_type.config_class))
    for model_class, whole in itertools.product(model_type.model_classes, wholes):
        config = _config_for(model_class, whole)
        try:
            size = _size(model_class, config)
        except Exception:
            if whole is wholes[-1]:
                raise
            continue
        if size > MOST_PARAMETERS:
            raise TooLargeError(f"{model_class.__name__} has {size / 1e6:.0f} million parameters")
        yield Tiny(model_class, config)


def _size(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> int:
    """Parameters of a model, counted without making room for them."""
    try:
        with torch.device("meta"):
            model = model_class(copy.deepcopy(config))
    except NotImplementedError:  # it reads a number while it is built, which meta tensors do not hold
        model = model_class(copy.deepcopy(config))
    return sum(parameter.numel() for parameter in model.parameters())


def _config_for(model_class: type[PreTrainedModel], config: PreTrainedConfig) -> PreTrainedConfig:
    """The config itself, or the part of it that a class is made of: a text model alone."""
    parts = [part for part in vars(config).values() if isinstance(part, PreTrainedConfig)]
    wanted = model_class.config_class
    if wanted is None or isinstance(config, wanted):
        return config
    return next((part for part in parts if isinstance(part, wanted)), config)


def encoded(model: PreTrainedModel, name: str) -> tuple[Loaded, Encoded]:
    """A padded batch of three rows, on the left where the model writes; three targets where it has a decoder."""
    card = card_of(model.config, name, type(model).__name__)
    loaded = Loaded(model, None, card)
    left = generates(type(model)) and not card.encoder_decoder
    request = Request(
        ids=rows(LENGTHS, seed=0),
        target_ids=rows(TARGET_LENGTHS, seed=1) if card.encoder_decoder else (),
        padding_side="left" if left else "right",
    )
    batch = encode(loaded, request)
    if name in BOXES:
        batch.inputs["bbox"] = torch.zeros(*batch.batch.ids.shape, 4, dtype=BOXES[name])
    return loaded, batch


def rows(lengths: tuple[int, ...], seed: int) -> tuple[tuple[int, ...], ...]:
    generator = np.random.default_rng(seed)
    return tuple(tuple(generator.integers(WORDS.start, WORDS.stop, length).tolist()) for length in lengths)


__all__ = ["LENGTHS", "TARGET_LENGTHS", "VOCABULARY", "Tiny", "TooLargeError", "encoded", "rows", "tinies"]
