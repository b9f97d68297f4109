"""Roles of heads, by the thresholds of `core/results/head_roles.py`."""

from __future__ import annotations

from collections.abc import Mapping

from maskviz.core.results.head_reading import Measured
from maskviz.core.results.head_roles import CRITERIA, LEAST_QUERIES, TIMES_CHANCE, RoleScore
from maskviz.core.words import HeadStatistic


def roles_of(measured: Mapping[HeadStatistic, Measured], head: int) -> tuple[RoleScore, ...]:
    """The roles of one head of a layer, the one farthest above its threshold first.

    A role needs a mean of at least its threshold on at least `LEAST_QUERIES` queries, and, but for broad heads,
    `TIMES_CHANCE` times what uniform attention would give: in a short causal text every head looks at the first token.
    """
    found = []
    for criterion in CRITERIA:
        one = measured.get(criterion.statistic)
        if one is None or one.queries[head] < LEAST_QUERIES:
            continue
        score, chance = float(one.mean[head]), float(one.chance[head])
        if score >= criterion.threshold and (score >= TIMES_CHANCE * chance or not criterion.above_chance):
            found.append(RoleScore(criterion, score, chance, int(one.queries[head])))
    return tuple(sorted(found, key=lambda role: -role.score / role.criterion.threshold))
