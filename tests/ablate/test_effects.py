"""Silencing every head in replayed batches is what a loop over heads gives, on every promised architecture."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from maskviz.ablate import memory
from maskviz.ablate.effects import Question, effects_of
from maskviz.ablate.head_edits import Edit
from maskviz.ablate.model_and_texts import AblatedText, ModelAndTexts
from maskviz.ablate.rerun import Rerun, rerunning
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.results.importance import Site
from maskviz.core.run.heads import HeadMask
from maskviz.core.words import Ablation, Measure, Stack
from tests.ablate.conftest import (
    HEADS,
    LAYERS,
    Change,
    head_outputs,
    hooked,
    logits_of,
    naive_measures,
    tiny_subject,
)
from tests.architectures import ARCHITECTURES, MORE
from tests.tracing.test_architectures import silence
from tests.tracing.test_taps import state

EVERY = sorted(ARCHITECTURES | MORE)
LAST_BIT = 1e-5


def loop_by_weights(subject: ModelAndTexts, sites: tuple[Site, ...]) -> dict[Measure, list[list[float]]]:
    """One forward pass a head, its slice of the projection's weights set to zero in a copy of the model."""
    model_type = subject.trace.card.model_type
    found: dict[Measure, list[list[float]]] = {}
    for text in subject.texts:
        side = text.batch.decoder or text.batch
        causal = side is text.batch.decoder or subject.trace.calls[-1].stack is Stack.DECODER
        plain = logits_of(subject, text)
        of_text: dict[Measure, list[float]] = {}
        for site in sites:
            pruned = ModelAndTexts(copy.deepcopy(subject.model), subject.trace, subject.texts)
            for call in subject.trace.of_stack(Stack(site.stack)):
                if call.layer == site.layer:
                    for head in site.heads:
                        silence(pruned.model, model_type, call, head)
            for measure, value in naive_measures(plain, logits_of(pruned, text), side.ids[0], causal=causal).items():
                of_text.setdefault(measure, []).append(value)
        for measure, values in of_text.items():
            found.setdefault(measure, []).append(values)
    return found


@pytest.mark.parametrize("model_type", [one for one in EVERY if one != "albert"])
def test_every_head_silenced_in_batches_is_a_loop_of_whole_passes(model_type: str) -> None:
    subject = tiny_subject(model_type)
    if model_type == "t5":  # logits in the dozens: float32 alone rounds them by more than is asked here
        subject.model.double()
    sites = subject.sites()
    effects = effects_of(subject, Question([subject.silenced(site) for site in sites]))
    expected = loop_by_weights(subject, sites)
    for measure in (Measure.LOSS, Measure.KL, Measure.FLIPS):
        scale = max(1.0, float(np.abs(expected[measure]).max()))
        np.testing.assert_allclose(effects.changes[measure], expected[measure], atol=LAST_BIT * scale, rtol=0)
    np.testing.assert_allclose(effects.changes[Measure.RANK], expected[Measure.RANK], atol=0.5)
    assert np.abs(effects.changes[Measure.LOSS]).min(axis=0).max() > 1e-4, "no head matters: this test could not fail"


@pytest.mark.parametrize("model_type", EVERY)
def test_every_architecture_is_run_in_batches(model_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = tiny_subject(model_type, (7,))
    ran: list[tuple[int, int]] = []
    again = Rerun.again

    def counting(self: Rerun, text: AblatedText, rows: int, since: int, edit: Edit) -> Any:
        ran.append((rows, since))
        return again(self, text, rows, since, edit)

    monkeypatch.setattr(Rerun, "again", counting)
    effects_of(subject, Question([subject.silenced(site) for site in subject.sites()]))
    assert max(rows for rows, _ in ran) >= HEADS
    assert max(since for _, since in ran[1:]) > 0, "no layer was replayed"


def test_albert_is_gated_in_one_layer_although_all_layers_are_one_module() -> None:
    subject = tiny_subject("albert", (7,))
    sites = subject.sites()
    changes = effects_of(subject, Question([subject.silenced(site) for site in sites])).changes[Measure.KL][0]
    assert len({round(float(one), 9) for one in changes}) == len(sites)


Twin = Callable[[ModelAndTexts, int, int, int], Tensor]


def zero_twin(subject: ModelAndTexts, number: int, layer: int, head: int) -> Tensor:
    def change(heads: Tensor) -> Tensor:
        heads = heads.clone()
        heads[:, :, head] = 0
        return heads

    with hooked(subject, {layer: change}):
        return logits_of(subject, subject.texts[number])


def mean_twin(subject: ModelAndTexts, number: int, layer: int, head: int) -> Tensor:
    outputs = torch.cat([head_outputs(subject, text, layer)[:, head] for text in subject.texts])

    def change(heads: Tensor) -> Tensor:
        heads = heads.clone()
        heads[:, :, head] = outputs.mean(dim=0)
        return heads

    with hooked(subject, {layer: change}):
        return logits_of(subject, subject.texts[number])


def resample_twin(subject: ModelAndTexts, number: int, layer: int, head: int) -> Tensor:
    other = head_outputs(subject, subject.texts[1 - number], layer)[:, head]

    def change(heads: Tensor) -> Tensor:
        heads = heads.clone()
        for query in range(heads.shape[1]):
            heads[:, query, head] = other[query % len(other)]
        return heads

    with hooked(subject, {layer: change}):
        return logits_of(subject, subject.texts[number])


def frozen_twin(subject: ModelAndTexts, number: int, layer: int, head: int) -> Tensor:
    """Every layer's heads are made anew from the plain run's patterns and the values of this run."""
    model, text = copy.deepcopy(subject.model), subject.texts[number]
    model.set_attn_implementation("eager")
    with torch.no_grad():
        patterns = model(**text.inputs, output_attentions=True).attentions
    values: dict[int, Tensor] = {}
    again = ModelAndTexts(model, subject.trace, subject.texts)
    handles = [value_layer(model, one).register_forward_hook(keeper(values, one)) for one in range(LAYERS)]

    def change(at: int) -> Change:
        def made(heads: Tensor) -> Tensor:
            mixed = torch.einsum("bhqk,bkhd->bqhd", patterns[at], split(values[at], heads.shape[-1]))
            if at == layer:
                mixed = mixed.clone()
                mixed[:, :, head] = 0
            return mixed

        return made

    with hooked(again, {one: change(one) for one in range(LAYERS)}):
        logits = logits_of(again, text)
    for handle in handles:
        handle.remove()
    return logits


def value_layer(model: torch.nn.Module, layer: int) -> torch.nn.Module:
    paths = {
        "bert": "bert.encoder.layer.{}.attention.self.value",
        "llama": "model.layers.{}.self_attn.v_proj",
        "gpt2": "transformer.h.{}.attn.c_attn",
        "gptj": "transformer.h.{}.attn.v_proj",
    }
    return model.get_submodule(paths[str(model.config.model_type)].format(layer))  # type: ignore[union-attr]


def keeper(values: dict[int, Tensor], layer: int) -> Callable[..., None]:
    def keep(_module: torch.nn.Module, _given: object, made: Tensor) -> None:
        values[layer] = made if "Conv1D" not in type(_module).__name__ else made[..., -made.shape[-1] // 3 :]

    return keep


def split(values: Tensor, width: int) -> Tensor:
    """[batch, key, key head * width] as [batch, key, head, width], key heads repeated for the heads that read them."""
    apart = values.view(*values.shape[:2], -1, width)
    return apart.repeat_interleave(HEADS // apart.shape[2], dim=2)


TWINS: dict[Ablation, Twin] = {
    Ablation.ZERO: zero_twin,
    Ablation.MEAN: mean_twin,
    Ablation.RESAMPLE: resample_twin,
    Ablation.FROZEN: frozen_twin,
}


@pytest.mark.parametrize("ablation", list(Ablation))
@pytest.mark.parametrize("model_type", ["bert", "gpt2", "llama", "gptj"])
def test_each_kind_of_ablation_is_a_loop_with_plain_hooks(model_type: str, ablation: Ablation) -> None:
    subject = tiny_subject(model_type)
    sites = subject.sites()
    effects = effects_of(subject, Question([subject.silenced(site) for site in sites], ablation))
    for number, text in enumerate(subject.texts):
        plain = logits_of(subject, text)
        for column, site in enumerate(sites):
            after = TWINS[ablation](subject, number, site.layer, site.heads[0])
            expected = naive_measures(plain, after, text.batch.ids[0], causal=model_type != "bert")
            for measure in (Measure.LOSS, Measure.KL):
                assert effects.changes[measure][number, column] == pytest.approx(expected[measure], abs=LAST_BIT)
            assert expected[Measure.KL] > 1e-7


def test_the_kinds_of_ablation_differ() -> None:
    subject = tiny_subject("llama")
    masks = [subject.silenced(site) for site in subject.sites()]
    found = [effects_of(subject, Question(masks, one)).changes[Measure.KL] for one in Ablation]
    for one in range(len(found)):
        for other in range(one):
            assert np.abs(found[one] - found[other]).max() > 1e-4


def test_a_frozen_pattern_cannot_show_what_a_last_layer_does_to_others() -> None:
    subject = tiny_subject("llama", (7,))
    last = [site for site in subject.sites() if site.layer == LAYERS - 1]
    masks = [subject.silenced(site) for site in last]
    frozen, zero = (
        effects_of(subject, Question(masks, one)).changes[Measure.KL] for one in (Ablation.FROZEN, Ablation.ZERO)
    )
    np.testing.assert_allclose(frozen, zero, atol=1e-6)


def test_a_gate_of_a_half_lies_on_the_way_to_zero() -> None:
    subject = tiny_subject("llama", (7,))

    def half(heads: Tensor) -> Tensor:
        heads = heads.clone()
        heads[:, :, 2] *= 0.5
        return heads

    gates = np.ones((LAYERS, HEADS), np.float32)
    gates[1, 2] = 0.5
    text = subject.texts[0]
    with hooked(subject, {1: half}):
        expected = naive_measures(logits_of_plain(subject), logits_of(subject, text), text.batch.ids[0], causal=True)
    changes = effects_of(subject, Question([HeadMask({"decoder": gates})])).changes
    assert changes[Measure.LOSS][0, 0] == pytest.approx(expected[Measure.LOSS], abs=LAST_BIT)


def logits_of_plain(subject: ModelAndTexts) -> Tensor:
    return logits_of(tiny_subject("llama", (7,)), subject.texts[0])


def test_a_key_head_goes_with_the_query_heads_that_read_it() -> None:
    subject = tiny_subject("llama", (7,))
    groups = subject.sites(key_heads=True)
    assert [str(site) for site in groups[:3]] == ["kv:0.0", "kv:0.1", "kv:1.0"]
    assert groups[1].heads == (2, 3)
    both = HeadMask({"decoder": np.array([[1, 1, 0, 0], [1] * 4, [1] * 4], np.float32)})
    alone, together = effects_of(subject, Question([subject.silenced(groups[1]), both])).changes[Measure.KL][0]
    assert alone == together > 0


def test_a_mask_that_silences_nothing_changes_nothing() -> None:
    subject = tiny_subject("bert", (7,))
    changes = effects_of(subject, Question([subject.silenced()])).changes
    assert all((array == 0).all() for array in changes.values())


def test_a_base_mask_is_what_others_are_compared_with() -> None:
    subject = tiny_subject("gpt2", (7,))
    base, more = subject.sites()[1], subject.sites()[6]
    text = subject.texts[0]

    def without(*heads: int) -> Change:
        def change(outputs: Tensor) -> Tensor:
            outputs = outputs.clone()
            outputs[:, :, list(heads)] = 0
            return outputs

        return change

    with hooked(subject, {base.layer: without(*base.heads)}):
        plain = logits_of(subject, text)
        with hooked(subject, {more.layer: without(*more.heads)}):
            after = logits_of(subject, text)
    expected = naive_measures(plain, after, text.batch.ids[0], causal=True)
    mask = subject.silenced(base)
    question = Question([subject.silenced(more, base=mask)], base=mask)
    changes = effects_of(subject, question).changes
    assert changes[Measure.LOSS][0, 0] == pytest.approx(expected[Measure.LOSS], abs=LAST_BIT)


@pytest.mark.parametrize("ablation", list(Ablation))
@pytest.mark.parametrize("model_type", ["bert", "gpt_oss", "t5", "bloom", "xlnet"])
def test_examining_leaves_the_model_as_it_was(model_type: str, ablation: Ablation) -> None:
    subject = tiny_subject(model_type)
    before = state(subject.model)
    forwards = [vars(module).get("forward") for module in subject.model.modules()]
    effects_of(subject, Question([subject.silenced(subject.sites()[0])], ablation))
    assert state(subject.model) == before
    assert [vars(module).get("forward") for module in subject.model.modules()] == forwards


def test_a_failing_block_leaves_the_model_as_it_was() -> None:
    subject = tiny_subject("llama")
    before = state(subject.model)
    with pytest.raises(ZeroDivisionError), rerunning(subject):
        1 / 0  # noqa: B018
    assert state(subject.model) == before
    assert all("forward" not in vars(module) for module in subject.model.modules())


def test_resampling_one_text_is_refused() -> None:
    subject = tiny_subject("bert", (7,))
    with pytest.raises(UsageError, match="there is one"):
        effects_of(subject, Question([subject.silenced()], Ablation.RESAMPLE))


def test_some_texts_alone_are_what_they_are_among_all() -> None:
    subject = tiny_subject("llama", (5, 7, 9))
    masks = [subject.silenced(site) for site in subject.sites()]
    question = Question(masks, Ablation.MEAN)
    whole, part = effects_of(subject, question), effects_of(subject, question, which=[2, 0])
    np.testing.assert_allclose(part.changes[Measure.LOSS], whole.changes[Measure.LOSS][[2, 0]], atol=1e-6)


def test_rows_run_together_keep_within_the_models_size() -> None:
    subject = tiny_subject("llama", (7,))
    assert 1 <= memory.rows_at_once(subject, subject.texts[0]) <= 1024 // 7


def test_an_attention_that_is_not_reached_is_said() -> None:
    subject = tiny_subject("llama", (7,))
    subject.calls["model.layers.9.self_attn", 0] = subject.calls["model.layers.2.self_attn", 0]
    with pytest.raises(CannotTraceError, match=r"model\.layers\.9\.self_attn"):
        effects_of(subject, Question([subject.silenced()]))


def test_a_text_that_does_not_fit_is_refused_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    subject = tiny_subject("llama", (7,))
    monkeypatch.setattr(memory, "free_bytes", lambda: 1000)
    with pytest.raises(CannotTraceError, match="the outputs of 7 tokens"):
        effects_of(subject, Question([subject.silenced()]))


def test_rows_that_are_not_independent_are_found_and_run_one_by_one() -> None:
    subject = tiny_subject("llama", (7,))
    masks = [subject.silenced(site) for site in subject.sites()]
    expected = effects_of(subject, Question(masks)).changes[Measure.LOSS]
    embeddings = subject.model.get_input_embeddings()
    together = embeddings.register_forward_hook(lambda _, __, made: made / len(made))
    ran: list[int] = []
    counting = embeddings.register_forward_pre_hook(lambda _, given: ran.append(len(given[0])))
    found = effects_of(subject, Question(masks)).changes[Measure.LOSS]
    together.remove()
    counting.remove()
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert ran.count(1) == len(masks) + 1, "each mask takes a pass of its own"
