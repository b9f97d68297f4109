"""What a collator for masked language models did to a batch, read off what it returned."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from maskviz.core.arrays import DoubleArray, IntArray
from maskviz.core.results.mlm import Draws, Fate, Masked

_Z = 1.959963984540054  # 97.5 % quantile of the normal distribution


def drawn(each: Iterable[Masked]) -> Draws:
    """Count over many seeds what became of each token; at least one seed."""
    counts: dict[Fate, IntArray] = {}
    seeds = []
    for masked in each:
        seeds.append(masked.seed)
        fates = masked.fates
        for fate in (Fate.MASKED, Fate.RANDOM, Fate.KEPT):
            counts[fate] = counts.get(fate, np.zeros(fates.shape, np.int64)) + (fates == fate)
    low, high = binomial_interval(np.sum(list(counts.values()), axis=0), len(seeds))
    return Draws(len(seeds), seeds[0], counts, low, high)


def binomial_interval(count: IntArray, of: int) -> tuple[DoubleArray, DoubleArray]:
    """Return both ends of the 95 % interval of a share, by Wilson's score (Wilson, JASA 22, 1927).

    Args:
        count: How often something happened, int64 of any shape.
        of: In how many independent trials, at least 1.
    """
    share = count / of
    middle = (share + _Z**2 / (2 * of)) / (1 + _Z**2 / of)
    reach = _Z / (1 + _Z**2 / of) * np.sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2))
    return np.maximum(middle - reach, 0.0), np.minimum(middle + reach, 1.0)
