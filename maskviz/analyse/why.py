"""Why a query may attend to a key: each part of a rule asked about the cells of a row or a column."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from maskviz.core.arrays import AnyArray, IntArray
from maskviz.core.errors import UsageError
from maskviz.core.results.why import Attended, Condition, Explanation, Place, Stretch
from maskviz.core.rules.algebra import AllOf, Combination, Everything, Grid, Rule
from maskviz.core.rules.kinds.repositioned import Repositioned
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.verdicts import Ends
from maskviz.core.run.trace import AttentionCall, Mask, Trace
from maskviz.core.writing import either


@dataclass(frozen=True, slots=True, eq=False)
class _Question:
    """A rule asked about a line of n cells: its answers [n] and those of its parts."""

    rule: Rule
    holds: IntArray  # 1 yes, 0 no, -1 where it cannot be read
    reasons: AnyArray
    query: IntArray
    key: IntArray
    batch: int
    moved: bool
    parts: tuple[_Question, ...]


def explain(
    trace: Trace, calls: Sequence[AttentionCall], place: Place, row: int, heads: Sequence[int] | None = None
) -> tuple[Explanation, ...]:
    """Say why the cells of a place are visible or blocked, once for all layers and heads with the same answer.

    Args:
        trace: The run.
        calls: Those of its calls that are asked about.
        place: The cells; calls that have no such cells are left out.
        row: The text, a row of the batch.
        heads: The heads that are asked about; None for all.

    Raises:
        UsageError: no call has such cells.
    """
    found: dict[object, Explanation] = {}
    missing: list[UsageError] = []
    for call in calls:
        try:
            queries, keys = _cells(call.mask, place)
        except UsageError as error:
            missing.append(error)
            continue
        for one in _of_call(trace, call, (queries, keys), row, heads):
            alike = (one.stack, one.heads, one.stretches, one.padding_query)
            known = found.get(alike)
            found[alike] = one if known is None else _joined(known, one)
    if not found and missing:
        raise missing[0]
    return tuple(found.values())


def _cells(mask: Mask, place: Place) -> tuple[IntArray, IntArray]:
    """Indices of the queries and the keys of a place in a mask."""
    queries, keys = mask.visible.shape[2:]
    first = mask.query_offset
    return (
        _numbered(place.query, first, first + queries, "query") - first,
        _numbered(place.key, 0, keys, "key"),
    )


def _numbered(number: int | None, first: int, behind: int, what: str) -> IntArray:
    if number is None:
        return np.arange(first, behind)
    counted = number + behind if number < 0 else number
    if not first <= counted < behind:
        there = "is one" if behind - first == 1 else "are"
        plural = {"query": "queries", "key": "keys"}[what]
        raise UsageError(
            f"{either('', '--at: ')}there is no {what} {number}",
            f"there {there}: {plural} {Ends(first, behind - 1)}",
        )
    return np.array([counted])


def _of_call(
    trace: Trace, call: AttentionCall, cells: tuple[IntArray, IntArray], row: int, heads: Sequence[int] | None
) -> Iterator[Explanation]:
    queries, keys = cells
    chosen = tuple(range(call.heads)) if heads is None else tuple(head for head in heads if head < call.heads)
    by_answer = _by_answer(call.mask, cells, row, chosen)
    padding = len(queries) == 1 and not bool(trace.real_queries(call)[row, queries[0]])
    for stretches, alike in by_answer.items():
        differing = tuple(alike) if len(by_answer) > 1 else ()
        attended: tuple[Attended, ...] = ()
        if len(queries) == len(keys) == 1 and call.pattern is not None:
            attended = (_attended(call, row, (int(queries[0]), int(keys[0])), differing or chosen),)
        yield Explanation(call.stack, (call.layer,), differing, (call.mask.rule,), stretches, padding, attended)


def explain_mask(
    mask: Mask, place: Place, row: int, heads: Sequence[int] | None = None
) -> tuple[tuple[tuple[int, ...], tuple[Stretch, ...]], ...]:
    """Say why the cells of a place are visible or blocked in a mask of no run.

    Args:
        mask: The mask.
        place: The cells.
        row: Row of the batch.
        heads: The heads that are asked about; None for all.

    Returns:
        An answer for all heads, under (), or one for each group of heads with the same answer.

    Raises:
        UsageError: the mask has no such cells.
    """
    chosen = tuple(range(mask.visible.shape[1])) if heads is None else tuple(heads)
    by_answer = _by_answer(mask, _cells(mask, place), row, chosen)
    return tuple((tuple(alike) if len(by_answer) > 1 else (), stretches) for stretches, alike in by_answer.items())


def _by_answer(
    mask: Mask, cells: tuple[IntArray, IntArray], row: int, heads: tuple[int, ...]
) -> dict[tuple[Stretch, ...], list[int]]:
    """The different answers, with the heads that give each; one head speaks for all where they share a mask."""
    found: dict[tuple[Stretch, ...], list[int]] = {}
    for head in heads if mask.visible.shape[1] > 1 else heads[:1]:
        found.setdefault(stretches_of(mask, *cells, row, head), []).append(head)
    return found


def _joined(one: Explanation, other: Explanation) -> Explanation:
    return replace(
        one,
        layers=tuple(sorted({*one.layers, *other.layers})),
        rules=tuple(dict.fromkeys((*one.rules, *other.rules))),
        attended=(*one.attended, *other.attended),
    )


def _attended(call: AttentionCall, row: int, cell: tuple[int, int], heads: Sequence[int]) -> Attended:
    assert call.pattern is not None
    given = call.pattern[row, list(heads), cell[0], cell[1]].astype(np.float64)
    most = int(given.argmax())
    return Attended(call.layer, int(heads[most]), float(given[most]), float(given.mean()))


def stretches_of(mask: Mask, queries: IntArray, keys: IntArray, row: int, head: int = 0) -> tuple[Stretch, ...]:
    """Say why cells of one row or column of a mask are visible or blocked.

    Args:
        mask: The mask: what it delivered is the evidence, its rule says why.
        queries, keys: int64 [query] and [key], consecutive indices; one of the two is a single one.
        row: Row of the batch.
        head: The head.

    Returns:
        The cells in order, those side by side with the same reasons together.
    """
    shown = min(head, mask.visible.shape[1] - 1)
    reasons = mask.reasons[row, shown][queries[0] : queries[-1] + 1, keys[0] : keys[-1] + 1].ravel()
    at = Grid(
        np.array([row])[:, None, None, None], (queries + mask.query_offset)[None, None, :, None], keys[None, None, None]
    )
    asked = tuple(_asked(part, at, head, False) for part in _all_have_to_hold(mask.rule))
    changes = [reasons, *(line for one in asked for line in _lines(one))]
    new = np.zeros(len(reasons), np.bool_)
    for line in changes:
        new[1:] |= line[1:] != line[:-1]
    edges = [0, *np.flatnonzero(new).tolist(), len(reasons)]
    numbers = [np.broadcast_to(side, len(reasons)) for side in (queries + mask.query_offset, keys)]
    return tuple(
        _stretch(asked, Reason(int(reasons[first])), numbers, slice(first, behind)) for first, behind in pairwise(edges)
    )


def _stretch(asked: Sequence[_Question], reasons: Reason, numbers: Sequence[IntArray], part: slice) -> Stretch:
    query, key = (_ends(side[part]) for side in numbers)
    conditions = tuple(_condition(one, part) for one in asked)
    if reasons:
        conditions = tuple(one for one in conditions if one.holds is not True)
    return Stretch(query, key, not reasons, reasons, conditions)


def _all_have_to_hold(rule: Rule) -> tuple[Rule, ...]:
    """The parts of a conjunction, also of one that is asked about positions; none of a rule that blocks nothing."""
    if isinstance(rule, Everything):
        return ()
    if isinstance(rule, Repositioned):
        return tuple(Repositioned(part, rule.position) for part in _all_have_to_hold(rule.rule))
    if isinstance(rule, AllOf):
        return tuple(own for part in rule.parts for own in _all_have_to_hold(part))
    return (rule,)


def _asked(rule: Rule, at: Grid, head: int, moved: bool) -> _Question:
    if isinstance(rule, Repositioned):
        return _asked(rule.rule, rule.asked_at(at), head, True)
    parts = tuple(_asked(part, at, head, moved) for part in rule.parts) if isinstance(rule, Combination) else ()
    reasons = _line(rule.reasons(at), at, head)
    if parts:
        holds = _combined(rule, np.stack([part.holds for part in parts]))
    else:
        holds = _line(rule.visible(at), at, head).astype(np.int64) if rule.readable else np.full(len(reasons), -1)
    query, key = (_line(np.asarray(side), at, head) for side in (at.query, at.key))
    return _Question(rule, holds, reasons, query, key, int(at.batch.ravel()[0]), moved, parts)


def _combined(rule: Rule, parts: IntArray) -> IntArray:
    """What several answers [part, n] say together: one no decides a conjunction, one yes a disjunction."""
    decisive = 0 if isinstance(rule, AllOf) else 1
    unknown = np.where((parts < 0).any(axis=0), -1, 1 - decisive)
    return np.where((parts == decisive).any(axis=0), decisive, unknown)


def _line(values: AnyArray, at: Grid, head: int) -> AnyArray:
    """Values that broadcast to [1, head, query, key] as one line of cells of one head."""
    cells = np.broadcast_to(values, (1, values.shape[1], *at.shape[2:]))
    return np.asarray(cells[0, min(head, values.shape[1] - 1)]).ravel()


def _lines(asked: _Question) -> Iterator[AnyArray]:
    """What has to be the same in all cells that are said together: the answers, and where positions lie."""
    yield from (asked.holds, asked.reasons)
    if asked.moved:
        place = np.arange(len(asked.query))
        for side in (asked.query, asked.key):
            if len(set(side.tolist())) > 1:
                yield side - place
    yield from asked.rule.divisions(asked.batch, asked.query, asked.key)
    for part in asked.parts:
        yield from _lines(part)


def _condition(asked: _Question, part: slice) -> Condition:
    rule = asked.rule
    query, key = _ends(asked.query[part]), _ends(asked.key[part])
    holds = {1: True, 0: False}.get(int(asked.holds[part][0]))
    return Condition(
        rule=rule,
        holds=holds,
        reasons=Reason(int(asked.reasons[part][0])),
        query=query,
        key=key,
        moved=asked.moved,
        query_pieces=_pieces(rule, asked.batch, asked.query[part]),
        key_pieces=_pieces(rule, asked.batch, asked.key[part]),
        needed=None if holds is not False else rule.needed(asked.batch, query, key),
        parts=tuple(_condition(one, part) for one in asked.parts),
    )


def _ends(numbers: IntArray) -> Ends:
    return Ends(int(numbers.min()), int(numbers.max()))


def _pieces(rule: Rule, row: int, positions: IntArray) -> tuple[int, ...]:
    found = rule.pieces(row, positions)
    return () if found is None else tuple(np.unique(found).tolist())
