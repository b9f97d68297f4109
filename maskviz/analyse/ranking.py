"""Statistics of head scores: means over texts with intervals, orders, and how far two orders agree."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from maskviz.core.arrays import DoubleArray
from maskviz.core.results.importance import Importance, Site
from maskviz.core.results.ranking import Agreement, Estimate, Ranking

_CONFIDENCE = 0.95
_TOP = 10


def ranked(importance: Importance, *, normalise: bool = False) -> Ranking:
    """Put the sites of an importance in order.

    Args:
        importance: What was measured.
        normalise: Divide the scores by the L2 norm of their layer first (`normalised`); the intervals take the norms
            as given.
    """
    scores = importance.scores
    if normalise:
        scores = normalised(scores, importance.sites)
    estimate = estimated(scores)
    return Ranking(
        importance,
        order_of(estimate.mean),
        estimate,
        {measure: estimated(values) for measure, values in importance.effects.changes.items()},
        None if importance.gradients is None else estimated(importance.gradients),
        normalise,
        _agreements(importance),
    )


def estimated(values: DoubleArray) -> Estimate:
    """Means over texts with 95 % confidence intervals by Student's t, the texts' values taken as normal.

    Args:
        values: float64 [text, column]; NaN where a text has no value, which leaves it out.
    """
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0).sum(axis=0) / counts
        squares = (np.where(known, values - mean, 0) ** 2).sum(axis=0)
        error = np.sqrt(squares / (counts - 1) / counts)
        quantiles = [t_quantile(int(count) - 1) if count > 1 else math.nan for count in counts]
        reach = np.array(quantiles) * error
        return Estimate(mean, mean - reach, mean + reach, counts)


@lru_cache(maxsize=1024)
def t_quantile(freedom: int, confidence: float = _CONFIDENCE) -> float:
    """The t with P(|T| < t) = `confidence`, by halving the angle atan(t / √freedom).

    Args:
        freedom: Degrees of freedom, 1 or more.
        confidence: Probability within (0, 1).
    """
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:
        if _within(middle, freedom) < confidence:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(middle)


def _within(angle: float, freedom: int) -> float:
    """P(|T| < √freedom · tan angle), the finite series of Abramowitz and Stegun (1964), 26.7.3 and 26.7.4."""
    odd = freedom % 2
    squared = math.cos(angle) ** 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0 if freedom == 1 else term
    for number in range(2 + odd, freedom - 1, 2):
        term *= squared * (number - 1) / number
        total += term
    total *= math.sin(angle)
    return 2 / math.pi * (angle + total) if odd else total


def order_of(scores: DoubleArray) -> tuple[int, ...]:
    """Numbers of the sites, most important first.

    Args:
        scores: float64 [site]. Equal ones stay in the order of the sites; NaN comes last.
    """
    return tuple(np.argsort(-scores, kind="stable").tolist())


def spearman(a: DoubleArray, b: DoubleArray) -> float:
    """Spearman's rank correlation in [-1, 1]: Pearson's of the ranks, equal values sharing their mean rank.

    Args:
        a, b: float64 [site]; a site with NaN in either is left out.

    Returns:
        NaN where either is the same for all sites, or fewer than two are left.
    """
    known = ~(np.isnan(a) | np.isnan(b))
    ranks = [_ranks(one[known]) for one in (a, b)]
    if any(len(np.unique(one)) < 2 for one in ranks):
        return math.nan
    x, y = (one - one.mean() for one in ranks)
    return float(np.clip((x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum()), -1, 1))


def _ranks(values: DoubleArray) -> DoubleArray:
    """float64 [site], ranks from 1, equal values at the mean of theirs."""
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    means: DoubleArray = np.cumsum(counts) - (counts - 1) / 2
    return means[places]


def overlap(a: DoubleArray, b: DoubleArray, count: int) -> float:
    """Share of the `count` most important sites of `a` that are among those of `b`, both float64 [site].

    Raises:
        ValueError: `count` is not from 1 to the number of sites.
    """
    if not 1 <= count <= len(a):
        raise ValueError(f"the top {count} of {len(a)} sites")
    return len({*order_of(a)[:count]} & {*order_of(b)[:count]}) / count


def normalised(scores: DoubleArray, sites: Sequence[Site]) -> DoubleArray:
    """Scores divided by the L2 norm of their layer's means over texts (Michel et al. 2019, after equation 2).

    Args:
        scores: float64 [site] or [text, site].
        sites: Their sites; a layer is one of one stack.

    Returns:
        The same shape. A layer of zeros stays one; NaN does not count for its layer.
    """
    means = scores if scores.ndim == 1 else estimated(scores).mean
    squares: dict[tuple[str, int], float] = {}
    for site, mean in zip(sites, np.nan_to_num(means).tolist(), strict=True):
        layer = (site.stack, site.layer)
        squares[layer] = squares.get(layer, 0.0) + mean * mean
    norms = np.array([math.sqrt(squares[site.stack, site.layer]) for site in sites])
    divided: DoubleArray = scores / np.where(norms > 0, norms, 1)
    return divided


def _agreements(importance: Importance) -> tuple[Agreement, ...]:
    """|dL/d gate| beside the exact change of the measure that is ranked by, where there are both."""
    exact = importance.effects.changes.get(importance.measure)
    if exact is None or importance.gradients is None:
        return ()
    change, gradient = estimated(exact).mean, estimated(importance.gradients).mean
    top = max(1, min(_TOP, len(change) // 2))
    by_layer = normalised(gradient, importance.sites)
    pairs = (
        ("|dL/d gate|", "change", gradient, change),
        ("|dL/d gate|", "|change|", gradient, abs(change)),
        ("|dL/d gate| / its layer's norm", "change", by_layer, change),
    )
    return tuple(Agreement(one, other, spearman(x, y), overlap(x, y, top), top) for one, other, x, y in pairs)
