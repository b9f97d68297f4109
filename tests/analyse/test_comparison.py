"""What a head mask changed, against the same numbers by hand."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from maskviz.analyse.comparison import compare
from maskviz.core.run.heads import parse_head_mask
from maskviz.core.run.trace import OutputKind, Trace
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Request, encode
from maskviz.tracing.run import head_shapes, run, run_gated
from tests.tracing.conftest import example_of, random_rows

CONFIG = BertConfig(vocab_size=99, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=40)


def two_runs(model: torch.nn.Module) -> tuple[Trace, Trace]:
    loaded = Loaded(model.eval(), None, card_of(CONFIG, "tiny", type(model).__name__))  # type: ignore[arg-type]
    encoded = encode(loaded, Request(ids=random_rows((4, 7))))
    before = run(loaded.model, encoded.inputs, encoded.batch, loaded.card)
    return before, run_gated(loaded.model, encoded.inputs, before, parse_head_mask("1:0,2", head_shapes(before)))


def gated(model_type: str) -> tuple[Trace, Trace]:
    example = example_of(model_type)
    mask = parse_head_mask("1:0,2", head_shapes(example.trace))
    return example.trace, run_gated(example.model, example.encoded.inputs, example.trace, mask)


def test_causal_places_are_the_last_real_tokens() -> None:
    before, after = gated("llama")
    change = compare(before, after)
    assert change.kind is OutputKind.CAUSAL_LM
    assert [(place.row, place.position) for place in change.places] == [(0, 8), (1, 8), (2, 8)]


def test_candidates_and_divergence_are_the_distributions() -> None:
    before, after = gated("llama")
    assert before.outputs is not None
    assert after.outputs is not None
    p = torch.softmax(torch.tensor(before.outputs.logits.copy()).double(), -1).numpy()
    q = torch.softmax(torch.tensor(after.outputs.logits.copy()).double(), -1).numpy()
    for index, place in enumerate(compare(before, after, top=3).places):
        assert place.divergence == pytest.approx(
            sum(a * np.log(a / b) for a, b in zip(p[index], q[index], strict=True))
        )
        assert place.flipped == (p[index].argmax() != q[index].argmax())
        for one in place.candidates:
            assert (one.before, one.after) == pytest.approx((p[index][one.index], q[index][one.index]))
        assert place.candidates[0].index in (p[index].argmax(), q[index].argmax())
        assert len(place.candidates) == 3


def test_moved_attention_is_the_total_variation_distance_of_real_rows() -> None:
    before, after = gated("llama")
    for diff, call, earlier in zip(compare(before, after).patterns, after.calls, before.calls, strict=True):
        assert call.pattern is not None
        assert earlier.pattern is not None
        real = after.real_queries(call)
        for head in range(call.heads):
            rows = [
                sum(abs(a - b) for a, b in zip(call.pattern[r, head, q], earlier.pattern[r, head, q], strict=True)) / 2
                for r, q in np.argwhere(real)
            ]
            assert diff.moved[head] == pytest.approx(np.mean(rows), abs=1e-6)
    assert (compare(before, after).patterns[0].moved == 0).all()
    assert (compare(before, after).patterns[1].moved == 0).all()
    assert (compare(before, after).patterns[2].moved > 0).any()


def test_losses_are_means_over_predicted_tokens() -> None:
    before, after = gated("t5")
    change = compare(before, after)
    assert [loss.tokens for loss in change.losses] == [3, 5, 2]
    assert before.outputs is not None
    assert before.outputs.token_loss is not None
    assert change.losses[1].before == pytest.approx(np.nanmean(before.outputs.token_loss[1].astype(float)))


def test_hidden_states_are_compared_where_there_are_no_logits() -> None:
    torch.manual_seed(0)
    before, after = two_runs(BertModel(CONFIG))
    change = compare(before, after)
    assert change.kind is OutputKind.HIDDEN
    assert before.outputs is not None
    assert after.outputs is not None
    assert before.outputs.hidden is not None
    assert after.outputs.hidden is not None
    one, other = (torch.tensor(x.hidden[0, :4].copy()) for x in (before.outputs, after.outputs) if x.hidden is not None)
    assert change.hidden[0].cosine == pytest.approx(torch.cosine_similarity(one, other, dim=-1).mean().item(), abs=1e-5)
    assert change.hidden[0].relative_norm == pytest.approx(
        ((other - one).norm(dim=-1) / one.norm(dim=-1)).mean().item(), abs=1e-5
    )


def test_classes_are_compared_by_name() -> None:
    torch.manual_seed(0)
    before, after = two_runs(BertForSequenceClassification(CONFIG))
    change = compare(before, after)
    assert change.kind is OutputKind.CLASSES
    assert change.labels == ("LABEL_0", "LABEL_1")
    assert [(place.row, place.position) for place in change.places] == [(0, -1), (1, -1)]
    assert sum(one.before for one in change.places[0].candidates) == pytest.approx(1)


def classifier(labels: int, problem: str | None = None) -> BertForSequenceClassification:
    torch.manual_seed(0)
    config: Any = copy.deepcopy(CONFIG)
    config.num_labels = labels
    config.problem_type = problem
    return BertForSequenceClassification(config)


def test_one_logit_is_a_score_and_not_a_probability_of_one() -> None:
    before, after = two_runs(classifier(1))
    change = compare(before, after)
    assert change.kind is OutputKind.SCORE
    assert before.outputs is not None
    place = change.places[0]
    assert place.divergence is None
    assert place.candidates[0].before == pytest.approx(float(before.outputs.logits[0, 0]))
    assert place.candidates[0].before != place.candidates[0].after


def test_independent_labels_have_a_probability_each() -> None:
    before, after = two_runs(classifier(3, "multi_label_classification"))
    change = compare(before, after)
    assert change.kind is OutputKind.LABELS
    assert before.outputs is not None
    for one in change.places[0].candidates:
        assert one.before == pytest.approx(1 / (1 + np.exp(-float(before.outputs.logits[0, one.index]))), abs=1e-6)


def test_outputs_of_another_kind_are_not_compared() -> None:
    from transformers import BertForQuestionAnswering

    torch.manual_seed(0)
    change = compare(*two_runs(BertForQuestionAnswering(CONFIG)))
    assert change.kind is None
    assert (change.patterns[2].moved > 0).any()


def test_a_divergence_survives_probabilities_of_zero() -> None:
    before, _ = gated("llama")
    assert before.outputs is not None
    logits = before.outputs.logits.copy()
    logits[:, 0] = -np.inf
    changed = replace(before, outputs=replace(before.outputs, logits=logits))
    places = compare(changed, changed).places
    assert all(place.divergence == 0 for place in places)


def test_a_run_compared_with_itself_has_not_changed() -> None:
    trace = example_of("gpt2").trace
    change = compare(trace, trace)
    assert all((diff.moved == 0).all() for diff in change.patterns)
    assert all(place.divergence == 0 and not place.flipped for place in change.places)
    assert all(loss.before == loss.after for loss in change.losses)
