"""The slope of the loss at a head's gate is what autograd says of the head's output."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import BertConfig, BertModel

from maskviz.ablate.effects import Question, effects_of
from maskviz.ablate.gradient import gradients_of
from maskviz.ablate.model_and_texts import ModelAndTexts
from maskviz.core.arrays import AnyArray
from maskviz.core.errors import CannotTraceError
from maskviz.core.run.heads import HeadMask
from maskviz.core.words import Measure
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded
from tests.ablate.conftest import HEADS, LAYERS, hooked, subject_of, tiny_subject
from tests.architectures import ARCHITECTURES, MORE, tiny
from tests.tracing.test_taps import state


def products(subject: ModelAndTexts, number: int) -> AnyArray:
    """⟨Att_h, dL/dAtt_h⟩ [layer, head], outputs kept by plain hooks and the loss transformers' own."""
    text = subject.texts[number]
    kept: dict[int, Tensor] = {}

    def keep(layer: int, heads: Tensor) -> Tensor:
        kept[layer] = heads
        heads.retain_grad()
        return heads

    with hooked(subject, {layer: partial(keep, layer) for layer in range(LAYERS)}):
        labels = text.inputs["input_ids"]
        subject.model(**text.inputs, labels=labels).loss.backward()
    subject.model.zero_grad()
    of_heads = []
    for layer in range(LAYERS):
        gradient = kept[layer].grad
        assert gradient is not None
        of_heads.append((kept[layer] * gradient).sum(dim=(0, 1, 3)))
    return torch.stack(of_heads).detach().numpy()


@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama", "gptj"])
def test_the_slope_at_a_gate_is_the_product_of_output_and_gradient(model_type: str) -> None:
    subject = tiny_subject(model_type)
    sites = subject.sites()
    slopes = gradients_of(subject, sites)
    for number in range(len(subject.texts)):
        expected = np.abs(products(subject, number)).ravel()
        np.testing.assert_allclose(slopes[number], expected, atol=1e-6, rtol=1e-4)
    assert slopes.min() < slopes.max() / 2


# These multiply experts or write masks in types that are not double, some in older releases of transformers alone.
NOT_DOUBLE = {"gpt_oss", "mpt", "trocr", "xglm"}


@pytest.mark.parametrize("model_type", sorted((ARCHITECTURES | MORE).keys() - NOT_DOUBLE))
def test_the_slope_is_what_a_small_step_of_the_gate_does(model_type: str) -> None:
    subject = tiny_subject(model_type, (7,))
    subject = ModelAndTexts(subject.model.double(), subject.trace, subject.texts)
    sites = subject.sites()[::3]
    step = 1e-3
    masks = []
    for site in sites:
        gates = {stack: np.ones(shape, np.float32) for stack, shape in subject.shapes.items()}
        gates[site.stack][site.layer, list(site.heads)] -= step
        masks.append(HeadMask(gates))
    slopes = gradients_of(subject, sites)[0]
    losses = effects_of(subject, Question(masks)).changes[Measure.LOSS][0]
    np.testing.assert_allclose(np.abs(losses) / step, slopes, atol=2e-3, rtol=4e-2)


def test_a_key_heads_slope_adds_up_its_groups_before_it_loses_its_sign() -> None:
    subject = tiny_subject("llama", (7,))
    signed = products(subject, 0)
    slopes = gradients_of(subject, subject.sites(key_heads=True))[0]
    expected = np.abs(signed.reshape(LAYERS, HEADS // 2, 2).sum(axis=-1)).ravel()
    np.testing.assert_allclose(slopes, expected, atol=1e-6, rtol=1e-4)


def test_gradients_leave_the_model_as_it_was() -> None:
    subject = tiny_subject("bert", (7,))
    next(subject.model.parameters()).requires_grad_(False)
    wanted = [parameter.requires_grad for parameter in subject.model.parameters()]
    before = state(subject.model)
    gradients_of(subject, subject.sites())
    assert state(subject.model) == before
    assert [parameter.requires_grad for parameter in subject.model.parameters()] == wanted
    assert all(parameter.grad is None for parameter in subject.model.parameters())


def test_hidden_states_have_no_loss_to_take_a_gradient_of() -> None:
    torch.manual_seed(0)
    config = tiny("bert").config
    assert isinstance(config, BertConfig)
    model = BertModel(config).eval()
    subject = subject_of(Loaded(model, None, card_of(model.config, "bert", "BertModel")))
    with pytest.raises(CannotTraceError, match="hidden states"):
        gradients_of(subject, subject.sites())
    changes = effects_of(subject, Question([subject.silenced(site) for site in subject.sites()])).changes
    assert list(changes) == [Measure.COSINE]
    assert (changes[Measure.COSINE] > 0).all()
