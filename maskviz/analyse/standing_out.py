"""Which heads of a run stand out on one text: the most typical of each role; where these are few, the two extremes.

A head's peak is the mean over the real queries of the text of its largest weight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

import numpy as np

from maskviz.analyse.head_statistics import read_layer
from maskviz.core.arrays import DoubleArray
from maskviz.core.results.head_roles import TELLING, ProminentHead, RoleScore
from maskviz.core.run.trace import AttentionCall, Trace

_LEAST, _MOST = 3, 6


_Place = tuple[AttentionCall, int]
HeadRoles = Mapping[_Place, tuple[RoleScore, ...]]


def head_roles(trace: Trace, row: int) -> HeadRoles:
    """The roles of every head that kept its pattern, on the text of a row: by its call and its number."""
    calls = [call for call in trace.calls if call.pattern is not None]
    return {(call, head): own for call in calls for head, own in enumerate(read_layer(trace, call, rows=(row,)).roles)}


def standing_out(trace: Trace, row: int, roles: HeadRoles | None = None) -> tuple[ProminentHead, ...]:
    """The heads that stand out on the text of a row: at most six, at most three of each stack where there are several.

    Without a pattern there are none. `roles` are those of `head_roles`, read here unless they are known.

    Each role is shown by its most typical head, in the order of `TELLING`. Where fewer than three heads have a role,
    the sharpest of the others and the one that spreads most widely join them.
    """
    most = _MOST if len(trace.stacks) == 1 else _LEAST
    known = head_roles(trace, row) if roles is None else roles
    each = ({place: own for place, own in known.items() if place[0].stack is stack} for stack in trace.stacks)
    return tuple(one for of_stack in each for one in _of_stack(trace, of_stack, row, most))


def _of_stack(trace: Trace, roles: HeadRoles, row: int, most: int) -> Iterator[ProminentHead]:
    calls = list(dict.fromkeys(call for call, _ in roles))
    found = {
        place: ProminentHead(place[0].stack, place[0].layer, place[1], tuple(own))
        for place, own in _typical(roles).items()
    }
    if len(found) < _LEAST:
        for name, place, peak in _extremes(trace, calls, row):
            one = ProminentHead(place[0].stack, place[0].layer, place[1], (), name, peak)
            if not found.get(place):
                found[place] = one
    return islice(found.values(), most)


def _typical(roles: HeadRoles) -> dict[_Place, list[RoleScore]]:
    """The most typical head of each role somebody has, with the roles it is the most typical of."""
    found: dict[_Place, list[RoleScore]] = {}
    for role in TELLING:
        having = [(score, place) for place, own in roles.items() for score in own if score.role is role]
        if having:
            score, place = max(having, key=lambda one: one[0].score)
            found.setdefault(place, []).append(score)
    return found


def _extremes(trace: Trace, calls: Sequence[AttentionCall], row: int) -> Iterator[tuple[str, _Place, float]]:
    """The heads of the highest and of the lowest peak; the first of all where attention is no number."""
    each = [((call, head), float(peak)) for call in calls for head, peak in enumerate(_peaks(trace, call, row))]
    known = [(place, peak) for place, peak in each if np.isfinite(peak)]
    if known:
        yield ("sharpest", *max(known, key=lambda one: one[1]))
        yield ("widest", *min(known, key=lambda one: one[1]))
    elif each:
        yield ("not a number", each[0][0], math.nan)


def _peaks(trace: Trace, call: AttentionCall, row: int) -> DoubleArray:
    """float64 [head], NaN where no query is real or a weight is no number."""
    real = trace.real_queries(call)[row]
    assert call.pattern is not None
    if not real.any() or not call.pattern.shape[-1]:
        return np.full(call.heads, np.nan)
    peaks: DoubleArray = call.pattern[row][:, real].max(axis=-1).mean(axis=-1, dtype=np.float64)
    return peaks
