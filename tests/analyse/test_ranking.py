"""Statistics of head scores, beside tables, textbook definitions and numpy's own."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskviz.analyse.ranking import estimated, normalised, order_of, overlap, ranked, spearman, t_quantile
from maskviz.core.arrays import DoubleArray
from maskviz.core.results.importance import Effects, Importance, Site
from maskviz.core.words import Ablation, Measure, Method

SITES = tuple(Site("decoder", layer, (head,)) for layer in range(2) for head in range(3))
# Few different numbers, so that ties are common.
scores = st.lists(st.integers(-3, 3), min_size=2, max_size=12)


# Fisher and Yates' table of t, two-sided 5 %.
@pytest.mark.parametrize(
    ("freedom", "quantile"),
    [(1, 12.7062), (2, 4.30265), (3, 3.18245), (4, 2.77645), (5, 2.57058), (10, 2.22814), (30, 2.04227)],
)
def test_t_quantiles_are_those_of_the_tables(freedom: int, quantile: float) -> None:
    assert t_quantile(freedom) == pytest.approx(quantile, rel=2e-6)


@pytest.mark.parametrize("confidence", [0.1, 0.5, 0.95, 0.999])
def test_t_quantiles_of_one_and_two_degrees_are_exact(confidence: float) -> None:
    """With one degree T is Cauchy's, t = tan(πp/2); with two p = t / √(2 + t²)."""
    assert t_quantile(1, confidence) == pytest.approx(math.tan(math.pi * confidence / 2), rel=1e-12)
    assert t_quantile(2, confidence) == pytest.approx(confidence * math.sqrt(2 / (1 - confidence**2)), rel=1e-12)


def test_t_quantiles_fall_towards_the_normal_one() -> None:
    values = [t_quantile(freedom) for freedom in (*range(1, 200), 100_000)]
    assert all(more > less for more, less in pairwise(values))
    assert values[-1] == pytest.approx(1.95996, abs=3e-5)


def test_an_interval_holds_the_true_mean_19_times_of_20() -> None:
    draws = np.random.default_rng(0).normal(2.0, 3.0, (4, 40_000))
    estimate = estimated(draws)
    held = ((estimate.low <= 2) & (estimate.high >= 2)).mean()
    assert held == pytest.approx(0.95, abs=0.005)


def test_an_estimate_is_the_mean_and_its_standard_error_times_t() -> None:
    estimate = estimated(np.array([[1.0, 4.0], [2.0, 4.0], [6.0, 4.0]]))
    assert estimate.mean.tolist() == [3.0, 4.0]
    reach = 4.30265 * math.sqrt(7 / 3)
    assert estimate.high == pytest.approx([3 + reach, 4], rel=1e-5)
    assert estimate.low == pytest.approx([3 - reach, 4], rel=1e-5)


def test_texts_without_a_value_are_left_out_and_one_text_has_no_interval() -> None:
    nan = math.nan
    estimate = estimated(np.array([[1.0, 1.0, nan], [3.0, nan, nan], [nan, nan, nan]]))
    assert estimate.texts.tolist() == [2, 1, 0]
    assert estimate.mean[:2].tolist() == [2.0, 1.0]
    assert np.isnan(estimate.mean[2])
    assert estimate.high[0] == pytest.approx(2 + 12.7062, rel=1e-5)
    assert np.isnan([estimate.low[1], estimate.high[1], estimate.low[2]]).all()


def test_most_important_sites_come_first_ties_in_their_order_and_nan_last() -> None:
    assert order_of(np.array([0.5, 2.0, math.nan, -1.0, 2.0, 0.5])) == (1, 4, 0, 5, 3, 2)


def naive_spearman(a: list[int], b: list[int]) -> float:
    """By counting: a value's rank is one more than the smaller ones and half of the others equal to it."""

    def ranks(values: list[int]) -> list[float]:
        return [1 + sum((y < x) + (y == x) / 2 for y in values) - 0.5 for x in values]

    x, y = ranks(a), ranks(b)
    middle = (len(a) + 1) / 2
    product = sum((one - middle) * (other - middle) for one, other in zip(x, y, strict=True))
    sizes = [sum((one - middle) ** 2 for one in side) for side in (x, y)]
    return product / math.sqrt(sizes[0] * sizes[1]) if min(sizes) else math.nan


@given(st.data(), scores)
def test_rank_correlation_is_that_of_ranks_found_by_counting(data: st.DataObject, a: list[int]) -> None:
    b = data.draw(st.lists(st.integers(-3, 3), min_size=len(a), max_size=len(a)))
    found = spearman(np.array(a, np.float64), np.array(b, np.float64))
    assert found == pytest.approx(naive_spearman(a, b), abs=1e-12, nan_ok=True)


def test_rank_correlation_sees_order_alone_and_leaves_out_what_is_unknown() -> None:
    a = np.array([1.0, 2.0, 3.0, 4.0])
    assert spearman(a, np.exp(a)) == 1
    assert spearman(a, -(a**3)) == -1
    assert np.isnan(spearman(a, np.ones(4)))
    assert spearman(np.array([1.0, math.nan, 3.0, 4.0]), np.array([1.0, 9.0, 2.0, 3.0])) == 1
    assert np.isnan(spearman(np.array([1.0, math.nan]), np.array([1.0, 2.0])))


def test_overlap_is_the_share_of_the_top_in_common() -> None:
    a, b = np.array([5.0, 4.0, 3.0, 0.0]), np.array([0.0, 4.0, 5.0, 3.0])
    assert overlap(a, b, 1) == 0
    assert overlap(a, b, 2) == 0.5
    assert overlap(a, b, 3) == pytest.approx(2 / 3)
    assert overlap(a, b, 4) == 1
    with pytest.raises(ValueError, match="the top 5 of 4"):
        overlap(a, b, 5)


@settings(deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=6, max_size=6))
def test_layers_are_normalised_one_by_one(values: list[int]) -> None:
    scores: DoubleArray = np.array(values, np.float64)
    found = normalised(scores, SITES)
    for layer in (slice(0, 3), slice(3, 6)):
        norm = np.linalg.norm(scores[layer])
        expected = scores[layer] / norm if norm else np.zeros(3)
        assert found[layer] == pytest.approx(expected)


def test_layers_of_different_stacks_are_different_and_means_over_texts_set_the_norm() -> None:
    sites = (Site("encoder", 0, (0,)), Site("cross", 0, (0,)))
    assert normalised(np.array([3.0, 4.0]), sites).tolist() == [1.0, 1.0]
    by_text = normalised(np.array([[2.0, 4.0], [4.0, 4.0]]), sites)
    assert by_text == pytest.approx(np.array([[2 / 3, 1.0], [4 / 3, 1.0]]))


def importance(changes: DoubleArray | None, gradients: DoubleArray | None) -> Importance:
    effects = Effects({} if changes is None else {Measure.LOSS: changes}, {})
    method = Method.GRADIENT if changes is None else Method.EXACT
    return Importance(SITES, effects, gradients, method, Measure.LOSS, Ablation.ZERO)


def test_a_ranking_goes_by_the_mean_and_compares_gradients_with_exact_changes() -> None:
    change = np.array([[1.0, -9.0, 3.0, 0.0, 5.0, 2.0]])
    ranking = ranked(importance(change, np.abs(change)))
    assert ranking.order == (4, 2, 5, 0, 3, 1)
    assert ranking.changes[Measure.LOSS].mean.tolist() == change[0].tolist()
    plain, absolute, by_layer = ranking.agreements
    assert absolute.correlation == 1
    assert plain.correlation < 1
    assert (by_layer.one, by_layer.top, by_layer.overlap) == ("|dL/d gate| / its layer's norm", 3, 2 / 3)


def test_gradients_alone_are_ranked_without_agreement_and_by_layer_where_asked() -> None:
    gradients = np.array([[10.0, 20.0, 30.0, 0.1, 0.1, 0.0]])
    assert ranked(importance(None, gradients)).order == (2, 1, 0, 3, 4, 5)
    by_layer = ranked(importance(None, gradients), normalise=True)
    assert by_layer.order == (2, 3, 4, 1, 0, 5)
    assert (by_layer.agreements, by_layer.changes) == ((), {})
    assert by_layer.gradients is not None
    assert by_layer.gradients.mean.tolist() == gradients[0].tolist()
