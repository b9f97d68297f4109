"""The loss of a masked language model: each real token masked in turn, special tokens never."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from maskviz.ablate.effects import Question
from maskviz.api.runs.examination import Examination, Masking, examination_of
from maskviz.api.runs.traced import Asked
from maskviz.cli.env import Env
from maskviz.core.machine import Share
from maskviz.core.run.heads import HeadMask
from maskviz.core.words import MaskedReading, Measure, Role
from maskviz.load.models.loading import Loading, bring_in
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.run import gated_output, run
from tests.architectures import tiny
from tests.conftest import Response

TEXTS = ("the cat sat in the house", "the dog ran")
ALONE = Share(0, 1)


def examination(masking: Masking, *texts: str) -> Examination:
    return examination_of(Env(), Asked(Loading(resolve("demo:bert")), Request(texts=texts or TEXTS)), ALONE, masking)


def naive_losses(text: str, head: tuple[int, int] | None = None) -> list[float]:
    """Cross entropy of each real token where it alone is masked, by a loop; a head silenced by its gate."""
    loaded = bring_in(Loading(resolve("demo:bert")), Request())
    encoded = encode(loaded, Request(texts=(text,)))
    trace = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    tokenizer: Any = loaded.tokenizer
    losses = []
    for place, token in enumerate(encoded.batch.ids[0].tolist()):
        if token in tokenizer.all_special_ids:
            continue
        ids = encoded.inputs["input_ids"].clone()
        ids[0, place] = tokenizer.mask_token_id
        inputs = {**encoded.inputs, "input_ids": ids}
        if head is None:
            with torch.no_grad():
                logits = loaded.model(**inputs).logits
        else:
            gates = np.ones((len(trace.calls), trace.calls[0].heads), np.float32)
            gates[head] = 0
            logits = gated_output(loaded.model, inputs, trace, HeadMask({"encoder": gates}))
        assert logits is not None
        losses.append(float(torch.nn.functional.cross_entropy(logits[0, place].float(), torch.tensor(token))))
    return losses


def test_the_plain_loss_is_the_mean_over_tokens_masked_in_turn() -> None:
    asked = examination(Masking())
    plain = asked.ask(Question([asked.subject.silenced()])).plain[Measure.LOSS]
    assert plain.tolist() == pytest.approx([np.mean(naive_losses(text)) for text in TEXTS], abs=1e-5)


@pytest.mark.parametrize("head", [(0, 1), (2, 2), (3, 0)])
def test_what_a_silenced_head_adds_is_what_it_adds_to_each_masked_token(head: tuple[int, int]) -> None:
    asked = examination(Masking())
    site = next(one for one in asked.subject.sites() if (one.layer, one.heads[0]) == head)
    effects = asked.ask(Question([asked.subject.silenced(site)]))
    expected = [np.mean(naive_losses(text, head)) - np.mean(naive_losses(text)) for text in TEXTS]
    assert effects.changes[Measure.LOSS][:, 0].tolist() == pytest.approx(expected, abs=1e-4)


def test_slopes_are_those_of_the_mean_and_not_the_mean_of_their_sizes() -> None:
    """By differences of the naive loss at gates just below 1."""
    asked = examination(Masking(), TEXTS[0])
    sites = asked.subject.sites()[:3]
    slopes = asked.slopes(sites)[0]
    step = 1e-2
    for site, slope in zip(sites, slopes, strict=True):
        gates = {stack: np.ones(shape, np.float32) for stack, shape in asked.subject.shapes.items()}
        gates[site.stack][site.layer, list(site.heads)] = 1 - step
        change = asked.ask(Question([HeadMask(gates)])).changes[Measure.LOSS][0, 0]
        assert slope == pytest.approx(abs(change) / step, rel=0.1, abs=0.02)


@pytest.mark.parametrize("reading", MaskedReading)
def test_special_tokens_are_asked_in_no_reading(reading: MaskedReading) -> None:
    asked = examination(Masking(reading))
    for text in asked.subject.texts:
        roles = text.batch.roles[0]
        places = [one.answer.place for one in text.masked if one.answer is not None]
        assert Role.SPECIAL in roles
        assert all(roles[place] is Role.TEXT for place in places)
        assert bool(places) is (reading is MaskedReading.MASKED)


def test_the_visible_reading_is_that_of_each_real_token_in_its_place() -> None:
    asked = examination(Masking(MaskedReading.VISIBLE))
    plain = asked.ask(Question([asked.subject.silenced()])).plain[Measure.LOSS]
    loaded = bring_in(Loading(resolve("demo:bert")), Request())
    expected = []
    for text in TEXTS:
        encoded = encode(loaded, Request(texts=(text,)))
        with torch.no_grad():
            logits: Any = loaded.model(**encoded.inputs).logits[0]
        ids, roles = encoded.inputs["input_ids"][0], encoded.batch.roles[0]
        real = [place for place, role in enumerate(roles) if role is Role.TEXT]
        expected.append(float(torch.nn.functional.cross_entropy(logits[real], ids[real])))
    assert plain.tolist() == pytest.approx(expected, abs=1e-5)
    assert "which no masked model is trained on" in " ".join(asked.notes)


def test_a_sample_masks_so_many_tokens_the_same_for_a_seed() -> None:
    first, again, *others = (examination(Masking(most=2, seed=seed)) for seed in (0, 0, 1, 2, 3))
    assert [len(text.masked) for text in first.subject.texts] == [2, 2]

    def places(asked: Examination) -> list[int]:
        return [one.answer.place for text in asked.subject.texts for one in text.masked if one.answer is not None]

    assert places(first) == places(again)
    assert any(places(first) != places(other) for other in others)
    assert "2 tokens each, drawn at random" in " ".join(first.notes)


def test_a_model_without_a_mask_token_is_read_as_it_stands_and_said_to_be(
    maskviz: Callable[..., Response], tmp_path: Path
) -> None:
    said = " ".join(maskviz("importance", "-m", "demo:bert", "--ids", "5 6 7 8").stdout.split())
    assert "pseudo-log-likelihood (Salazar et al. 2020)" in said
    tiny("bert").save_pretrained(tmp_path)
    without = " ".join(maskviz("importance", "-m", str(tmp_path), "--ids", "5 6 7 8").stdout.split())
    assert "no mask token is known to hide one with" in without
