"""How far outputs are from the plain ones, against the definitions written out."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskviz.ablate.measures import Meaning, Yardstick
from maskviz.core.errors import CannotTraceError
from maskviz.core.run.trace import Batch, OutputKind
from maskviz.core.words import Measure, Role
from tests.ablate.conftest import naive_measures

TOKENS, WORDS = 6, 11


def side(ids: list[int], masked: int | None = None) -> Batch:
    roles = tuple(Role.MASK if place == masked else Role.TEXT for place in range(len(ids)))
    row = np.array([ids])
    return Batch(row, np.ones_like(row, dtype=bool), (tuple(map(str, ids)),), (roles,))


def logits(rows: int, seed: int, size: float = 1.0) -> torch.Tensor:
    return size * torch.randn(rows, TOKENS, WORDS, generator=torch.Generator().manual_seed(seed))


def changes(kind: OutputKind, plain: Any, after: Any, batch: Batch) -> dict[Measure, list[float]]:
    return Yardstick(Meaning(kind), plain, batch).changes(after)


@pytest.mark.parametrize("kind", [OutputKind.CAUSAL_LM, OutputKind.MASKED_LM])
@given(seed=st.integers(0, 10_000), size=st.sampled_from([0.01, 1.0, 30.0]), step=st.sampled_from([1e-3, 0.5, 20.0]))
@settings(deadline=None, max_examples=40)
def test_measures_are_their_definitions(kind: OutputKind, seed: int, size: float, step: float) -> None:
    ids = np.random.default_rng(seed).integers(0, WORDS, TOKENS).tolist()
    plain = logits(1, seed, size)
    after = plain + step * logits(3, seed + 1)
    found = changes(kind, SimpleNamespace(logits=plain), SimpleNamespace(logits=after), side(ids))
    for row in range(3):
        expected = naive_measures(plain[0], after[row], np.array(ids), causal=kind is OutputKind.CAUSAL_LM)
        for measure in (Measure.LOSS, Measure.KL):
            assert found[measure][row] == pytest.approx(expected[measure], abs=2e-5, rel=1e-4)
        assert found[Measure.FLIPS][row] == pytest.approx(expected[Measure.FLIPS], abs=1e-6)
        assert found[Measure.RANK][row] == pytest.approx(expected[Measure.RANK], abs=1e-6)


def test_a_small_divergence_is_not_lost_in_rounding() -> None:
    plain = logits(1, 0, 20.0)
    after = plain.double() + 1e-3 * logits(1, 1).double()
    found = changes(
        OutputKind.CAUSAL_LM, SimpleNamespace(logits=plain), SimpleNamespace(logits=after.float()), side([1] * 6)
    )
    before, now = plain[0].double().log_softmax(-1), after[0].log_softmax(-1)
    exact = float((before.exp() * (before - now)).sum(-1).mean())
    assert found[Measure.KL][0] == pytest.approx(exact, abs=2e-6)


def test_an_impossible_word_stays_impossible() -> None:
    plain = logits(1, 0)
    plain[..., 3] = float("-inf")
    after = plain + logits(1, 1)
    found = changes(OutputKind.CAUSAL_LM, SimpleNamespace(logits=plain), SimpleNamespace(logits=after), side([1] * 6))
    possible = [word for word in range(WORDS) if word != 3]
    expected = naive_measures(plain[0][:, possible], after[0][:, possible], np.ones(6, dtype=int), causal=True)
    assert found[Measure.LOSS][0] == pytest.approx(expected[Measure.LOSS], abs=1e-5)
    assert found[Measure.KL][0] == pytest.approx(expected[Measure.KL], abs=1e-5)


def test_at_a_mask_token_the_truth_is_not_known() -> None:
    plain, after = logits(1, 0), logits(1, 1)
    found = changes(
        OutputKind.MASKED_LM, SimpleNamespace(logits=plain), SimpleNamespace(logits=after), side([1] * 6, masked=2)
    )
    known = [0, 1, 3, 4, 5]
    expected = naive_measures(plain[0][known], after[0][known], np.ones(5, dtype=int), causal=False)
    assert found[Measure.LOSS][0] == pytest.approx(expected[Measure.LOSS], abs=1e-5)


def test_a_single_token_of_a_causal_model_has_no_loss() -> None:
    one = SimpleNamespace(logits=logits(1, 0)[:, :1])
    yardstick = Yardstick(Meaning(OutputKind.CAUSAL_LM), one, side([4]))
    assert yardstick.measures == (Measure.KL, Measure.FLIPS)
    assert yardstick.plain == {}


def test_classes_are_held_against_the_plain_runs_own_answer() -> None:
    plain, after = torch.tensor([[1.0, 2.0, 0.5]]), torch.tensor([[3.0, 2.0, 0.5]])
    found = changes(OutputKind.CLASSES, SimpleNamespace(logits=plain), SimpleNamespace(logits=after), side([1]))
    added = plain.log_softmax(-1)[0, 1] - after.log_softmax(-1)[0, 1]
    assert found[Measure.LOSS][0] == pytest.approx(float(added), abs=1e-6)
    assert (found[Measure.FLIPS], found[Measure.RANK]) == ([1.0], [1.0])


def test_each_label_is_a_choice_of_its_own() -> None:
    plain, after = torch.tensor([[1.5, -0.5]]), torch.tensor([[-0.25, -1.0]])
    found = changes(OutputKind.LABELS, SimpleNamespace(logits=plain), SimpleNamespace(logits=after), side([1]))
    answers = (plain > 0).float()
    losses = [torch.nn.functional.binary_cross_entropy_with_logits(one, answers) for one in (plain, after)]
    assert found[Measure.LOSS][0] == pytest.approx(float(losses[1] - losses[0]), abs=1e-6)
    assert found[Measure.FLIPS] == [0.5]


def test_a_score_moves_by_its_distance() -> None:
    plain, after = torch.tensor([[1.5]]), torch.tensor([[1.0], [2.5]])
    found = changes(OutputKind.SCORE, SimpleNamespace(logits=plain), SimpleNamespace(logits=after), side([1]))
    assert found == {Measure.SCORE: [0.5, 1.0]}


def test_an_answer_in_the_text_is_a_choice_of_its_start_and_one_of_its_end() -> None:
    plain, after = logits(1, 0)[0, :2], logits(1, 1)[0, :2]
    returned = [SimpleNamespace(start_logits=one[:1], end_logits=one[1:]) for one in (plain, after)]
    found = changes(OutputKind.CLASSES, returned[0], returned[1], side([1] * WORDS))
    before, now = plain.log_softmax(-1), after.log_softmax(-1)
    assert found[Measure.KL][0] == pytest.approx(float((before.exp() * (before - now)).sum(-1).mean()), abs=1e-6)


def test_hidden_states_turn_by_one_minus_their_mean_cosine() -> None:
    plain, after = logits(1, 0), logits(2, 1)
    found = changes(
        OutputKind.HIDDEN,
        SimpleNamespace(last_hidden_state=plain),
        SimpleNamespace(last_hidden_state=after),
        side([1] * 6),
    )
    for row in range(2):
        cosines = [
            float(plain[0, place] @ after[row, place] / plain[0, place].norm() / after[row, place].norm())
            for place in range(TOKENS)
        ]
        assert found[Measure.COSINE][row] == pytest.approx(1 - np.mean(cosines), abs=1e-6)


def test_outputs_of_another_length_cannot_be_compared() -> None:
    plain, after = logits(1, 0), logits(1, 1)[:, :4]
    with pytest.raises(CannotTraceError, match=r"the outputs are \(4, 11\) and not \(6, 11\)"):
        changes(OutputKind.CAUSAL_LM, SimpleNamespace(logits=plain), SimpleNamespace(logits=after), side([1] * 6))
