"""Tiny models with two texts of different length, and the naive twins they are compared with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from maskviz.ablate.model_and_texts import AblatedText, ModelAndTexts
from maskviz.core.arrays import AnyArray
from maskviz.core.words import Measure
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.run import run
from tests.architectures import ENCODER_DECODERS
from tests.tracing.conftest import loaded_tiny, random_rows

# Takes what the heads of a layer put out, [row, query, head, width]; returns what they are to put out instead.
Change = Callable[[Tensor], Tensor]
# Of each tiny model the layers' output projections, written down by hand.
PROJECTIONS = {
    "bert": "bert.encoder.layer.{}.attention.output.dense",
    "gpt2": "transformer.h.{}.attn.c_proj",
    "llama": "model.layers.{}.self_attn.o_proj",
    "gptj": "transformer.h.{}.attn.out_proj",
}
HEADS, LAYERS = 4, 3


def subject_of(loaded: Loaded, lengths: tuple[int, ...] = (7, 9)) -> ModelAndTexts:
    """A model with random texts of some lengths."""
    decoding = loaded.card.model_type in ENCODER_DECODERS
    texts = []
    for seed, length in enumerate(lengths):
        targets = random_rows((length - 2,), seed=seed + 50) if decoding else ()
        encoded = encode(loaded, Request(ids=random_rows((length,), seed=seed), target_ids=targets))
        texts.append(AblatedText(encoded.inputs, encoded.batch))
    trace = run(loaded.model, texts[0].inputs, texts[0].batch, loaded.card)
    return ModelAndTexts(loaded.model, trace, tuple(texts))


def tiny_subject(model_type: str, lengths: tuple[int, ...] = (7, 9)) -> ModelAndTexts:
    return subject_of(loaded_tiny(model_type), lengths)


@contextmanager
def hooked(subject: ModelAndTexts, changes: dict[int, Change]) -> Iterator[None]:
    """Change what the heads of layers put out on its way into their projection, with plain torch hooks."""
    path = PROJECTIONS[subject.trace.card.model_type]
    handles = []
    for layer, change in changes.items():

        def entering(_: torch.nn.Module, given: tuple[Tensor, ...], change: Change = change) -> tuple[Tensor, ...]:
            rows, queries, width = given[0].shape
            heads = given[0].view(rows, queries, HEADS, width // HEADS)
            return (change(heads).reshape(rows, queries, width),)

        handles.append(subject.model.get_submodule(path.format(layer)).register_forward_pre_hook(entering))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def logits_of(subject: ModelAndTexts, text: AblatedText) -> Tensor:
    with torch.no_grad():
        returned: Any = subject.model(**text.inputs)
    logits: Tensor = returned.logits[0]
    return logits


def head_outputs(subject: ModelAndTexts, text: AblatedText, layer: int) -> Tensor:
    """What the heads of a layer put out for a text, [query, head, width]."""
    kept: list[Tensor] = []

    def keep(heads: Tensor) -> Tensor:
        kept.append(heads[0].clone())
        return heads

    with hooked(subject, {layer: keep}):
        logits_of(subject, text)
    return kept[0]


def naive_measures(plain: Tensor, after: Tensor, ids: AnyArray, *, causal: bool) -> dict[Measure, float]:
    """Each measure from its definition, in double precision: logits [token, vocabulary], ids [token]."""
    before, now = plain.double().log_softmax(-1), after.double().log_softmax(-1)
    divergences, flips, added, fallen = [], [], [], []
    for place in range(len(ids)):
        divergences.append(float((before[place].exp() * (before[place] - now[place])).sum()))
        flips.append(int(before[place].argmax()) != int(now[place].argmax()))
        source = place - 1 if causal else place
        if source >= 0:
            truth = int(ids[place])
            added.append(float(before[source, truth] - now[source, truth]))
            ranks = [int((one[source] > one[source, truth]).sum()) for one in (before, now)]
            fallen.append(ranks[1] - ranks[0])
    means = (np.mean(divergences), np.mean(flips), np.mean(added), np.mean(fallen))
    measures = (Measure.KL, Measure.FLIPS, Measure.LOSS, Measure.RANK)
    return {measure: float(mean) for measure, mean in zip(measures, means, strict=True)}
