"""The roles heads are given, each by a threshold with its source."""

from __future__ import annotations

from dataclasses import dataclass

from maskviz.core.words import HeadRole, HeadStatistic, Stack

# Both are ours: below them a score says more of the text than of the head.
LEAST_QUERIES = 5
TIMES_CHANCE = 2.0


@dataclass(frozen=True, slots=True)
class Criterion:
    """When a head is given a role.

    Attributes:
        role: The role.
        statistic: What decides.
        threshold: The least mean of it.
        source: Who describes such heads, and whose the number is.
        means: What such attention looks like, a clause.
    """

    role: HeadRole
    statistic: HeadStatistic
    threshold: float
    source: str
    means: str

    @property
    def above_chance(self) -> bool:
        """Whether the score must also be `TIMES_CHANCE` times what uniform attention would give."""
        return self.role is not HeadRole.BROAD  # uniform attention is what it is about


CRITERIA = (
    Criterion(
        HeadRole.PREVIOUS,
        HeadStatistic.PREVIOUS,
        0.5,
        "Clark et al. 2019",
        "over half of the attention on the token before",
    ),
    Criterion(
        HeadRole.NEXT,
        HeadStatistic.NEXT,
        0.5,
        "Clark et al. 2019",
        "over half of the attention on the token behind",
    ),
    Criterion(
        HeadRole.ITSELF,
        HeadStatistic.ITSELF,
        0.5,
        "number: ours",
        "over half of the attention on the token itself",
    ),
    Criterion(
        HeadRole.POSITIONAL,
        HeadStatistic.POSITIONAL,
        0.9,
        "Voita et al. 2019",
        "the largest weight at the same offset in 9 of 10 queries",
    ),
    Criterion(
        HeadRole.SINK,
        HeadStatistic.SINK,
        0.3,
        "Xiao et al. 2023; number: Gu et al. 2024",
        "attention parked on the first token",
    ),
    Criterion(
        HeadRole.SPECIAL,
        HeadStatistic.SPECIAL,
        0.5,
        "Clark et al. 2019, of layers",
        "over half of the attention on special tokens",
    ),
    Criterion(
        HeadRole.DUPLICATE,
        HeadStatistic.DUPLICATE,
        0.4,
        "Wang et al. 2022; number: ours",
        "attention on the same token elsewhere",
    ),
    Criterion(
        HeadRole.INDUCTION,
        HeadStatistic.INDUCTION,
        0.4,
        "Olsson et al. 2022; number: ours",
        "attention on what followed the same token earlier",
    ),
    Criterion(
        HeadRole.BROAD,
        HeadStatistic.SPREAD,
        0.9,
        "Clark et al. 2019; number: ours",
        "nearly uniform attention",
    ),
)


# What says most of a head comes first: sinks are in every decoder.
TELLING = (
    HeadRole.INDUCTION,
    HeadRole.PREVIOUS,
    HeadRole.DUPLICATE,
    HeadRole.NEXT,
    HeadRole.ITSELF,
    HeadRole.POSITIONAL,
    HeadRole.BROAD,
    HeadRole.SPECIAL,
    HeadRole.SINK,
)


@dataclass(frozen=True, slots=True)
class RoleScore:
    """A role a head was given.

    Attributes:
        criterion: Why.
        score, chance: The mean that decided, and what uniform attention over the same keys would give.
        queries: On how many queries it rests.
    """

    criterion: Criterion
    score: float
    chance: float
    queries: int

    @property
    def role(self) -> HeadRole:
        """The role."""
        return self.criterion.role


@dataclass(frozen=True, slots=True)
class ProminentHead:
    """A head that stands out.

    Attributes:
        stack, layer, head: Which one.
        roles: The roles it is the most typical of.
        extreme: Without roles, what it is instead: "sharpest", "widest" or "not a number"; else empty.
        peak: Of an extreme, the mean of the largest weight of each query.
    """

    stack: Stack
    layer: int
    head: int
    roles: tuple[RoleScore, ...]
    extreme: str = ""
    peak: float = 0.0
