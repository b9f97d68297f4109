"""The trained demo:gpt: its induction circuit is found by silencing heads, on repeated text and not on random text."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from maskviz.ablate.effects import Question, effects_of
from maskviz.ablate.model_and_texts import AblatedText, ModelAndTexts
from maskviz.core.arrays import DoubleArray
from maskviz.core.words import Ablation, Measure
from maskviz.load.models.model import load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.run import run

# The head that looks at the token before; the heads of layer 1 find the last occurrence by what it wrote there.
PREVIOUS, INDUCTION = "0.3", ("1.0", "1.1", "1.2", "1.3")
TOKENS, TEXTS = 40, 6


@cache
def subject(*, repeated: bool) -> ModelAndTexts:
    """demo:gpt with random phrases of 20 tokens said twice, or with random tokens all along."""
    source = resolve("demo:gpt")
    loaded = load_model(source, load_config(source))
    dice = np.random.default_rng(0)
    texts = []
    for _ in range(TEXTS):
        ids = dice.integers(10, 400, TOKENS)
        ids[TOKENS // 2 :] = ids[: TOKENS // 2] if repeated else ids[TOKENS // 2 :]
        encoded = encode(loaded, Request(ids=(tuple(ids.tolist()),)))
        texts.append(AblatedText(encoded.inputs, encoded.batch))
    trace = run(loaded.model, texts[0].inputs, texts[0].batch, loaded.card)
    return ModelAndTexts(loaded.model, trace, tuple(texts))


def losses(*, repeated: bool, ablation: Ablation, together: bool = False) -> dict[str, float]:
    """Loss added by each head alone, or by all induction heads together."""
    one = subject(repeated=repeated)
    sites = {str(site): site for site in one.sites()}
    groups = {"all": [sites[name] for name in INDUCTION]} if together else {name: [sites[name]] for name in sites}
    question = Question([one.silenced(*group) for group in groups.values()], ablation)
    added: DoubleArray = effects_of(one, question).changes[Measure.LOSS].mean(axis=0)
    return dict(zip(groups, added.tolist(), strict=True))


@pytest.mark.parametrize("ablation", [Ablation.ZERO, Ablation.MEAN, Ablation.RESAMPLE])
def test_the_head_induction_rests_on_hurts_repeated_text_most_and_random_text_hardly(ablation: Ablation) -> None:
    repeated, once = (losses(repeated=one, ablation=ablation) for one in (True, False))
    assert max(repeated, key=repeated.__getitem__) == PREVIOUS
    assert repeated[PREVIOUS] > 10 * max(value for name, value in repeated.items() if name != PREVIOUS)
    assert repeated[PREVIOUS] > 10 * abs(once[PREVIOUS])


def test_induction_heads_stand_in_for_each_other_alone_and_not_together() -> None:
    alone = losses(repeated=True, ablation=Ablation.RESAMPLE)
    together = losses(repeated=True, ablation=Ablation.RESAMPLE, together=True)["all"]
    elsewhere = losses(repeated=False, ablation=Ablation.RESAMPLE, together=True)["all"]
    assert together > 10 * max(alone[name] for name in INDUCTION)
    assert together > 10 * abs(elsewhere)


def test_it_acts_by_where_later_heads_look() -> None:
    zero, frozen = (losses(repeated=True, ablation=one)[PREVIOUS] for one in (Ablation.ZERO, Ablation.FROZEN))
    assert frozen < zero / 10
