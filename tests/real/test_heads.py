"""Roles of real pre-trained heads: what other means say of them, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from maskviz.ablate.effects import Question, effects_of
from maskviz.ablate.model_and_texts import AblatedText, ModelAndTexts
from maskviz.analyse.head_statistics import read_heads
from maskviz.core.results.head_reading import HeadReading
from maskviz.core.words import Ablation, HeadRole, HeadStatistic, Measure
from maskviz.load.models.model import Loaded, load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Request, encode
from maskviz.load.texts.probe import PROBED, probe_of
from tests.traced import traced

pytestmark = pytest.mark.slow("runs models of real size")

OPENINGS = Path(__file__).parents[2] / "samples" / "heads" / "texts.txt"


def loaded_from(folder: Path) -> Loaded:
    source = resolve(str(folder))
    return load_model(source, load_config(source), device="cpu")


def heads_of(reading: HeadReading, role: HeadRole) -> set[tuple[int, int]]:
    return {
        (layer.layer, head)
        for layer in reading.layers
        for head, roles in enumerate(layer.roles)
        for one in roles
        if one.role is role
    }


def test_minilm_parks_attention_on_special_tokens_and_has_neighbour_heads(minilm: Path) -> None:
    texts = tuple(OPENINGS.read_text("utf-8").splitlines())
    reading = read_heads(traced(loaded_from(minilm), Request(texts)).trace)
    assert heads_of(reading, HeadRole.PREVIOUS) == {(0, 2)}
    assert heads_of(reading, HeadRole.NEXT) == {(1, 8)}
    assert len(heads_of(reading, HeadRole.SPECIAL)) > 10
    assert {layer for layer, _ in heads_of(reading, HeadRole.BROAD)} == {0}


def test_silencing_smollm2s_induction_heads_costs_a_repeat_more_than_silencing_others(smollm2: Path) -> None:
    loaded = loaded_from(smollm2)
    probe = probe_of(loaded, 30, 2, 0)
    _, encoded, trace = traced(loaded, probe.request(Request()))
    reading = read_heads(trace, probe.counted, PROBED)
    found = heads_of(reading, HeadRole.INDUCTION)
    assert 4 <= len(found) <= 20
    texts = []
    for row in probe.ids.tolist():
        one = encode(loaded, Request(ids=(tuple(row),)))
        texts.append(AblatedText(one.inputs, one.batch))
    subject = ModelAndTexts(loaded.model, trace, tuple(texts))
    sites = {(site.layer, site.heads[0]): site for site in subject.sites()}
    dice = np.random.default_rng(0)
    layers = {layer for layer, _ in found}
    others = [place for place in sites if place[0] in layers and place not in found]
    drawn = [others[number] for number in dice.permutation(len(others))[: len(found)]]
    question = Question(
        [subject.silenced(*(sites[place] for place in places)) for places in (sorted(found), drawn)], Ablation.MEAN
    )
    ours, random = effects_of(subject, question).changes[Measure.LOSS].mean(axis=0).tolist()
    assert ours > 3 * abs(random)
    induction = [layer.measured[HeadStatistic.INDUCTION].mean.max() for layer in reading.layers]
    assert int(np.argmax(induction)) == pytest.approx(18, abs=2)
    assert encoded.batch.rows == 2
