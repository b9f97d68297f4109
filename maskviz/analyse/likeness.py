"""Which models' masks look the same: rules without padding, evaluated at one length and followed to longer ones."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from hashlib import sha256

import numpy as np

from maskviz.core.results.results import LookAlike, MaskSet
from maskviz.core.rules.algebra import AllOf, AnyOf, Grid, Rule, all_of, any_of
from maskviz.core.rules.kinds.span import Span
from maskviz.core.run.trace import CONTENT, Trace

# Beyond this length rules are compared as they are written: a row of a mask is no longer small.
_LONGEST_ROW = 1 << 22
Look = Callable[[Rule], Hashable]


class NotComparableError(ValueError):
    """A model has no masks that its rules say at every length."""


def mask_set(trace: Trace, until: int | None = None) -> MaskSet:
    """Return the different masks of a run's layers, without padding; `until` as `MaskSet` has it.

    Raises:
        NotComparableError: it has none, or one that is not made of positions alone; the message says which.
    """
    kinds = {layer.kind for layer in trace.silent}
    if CONTENT in kinds or "" in kinds:
        raise NotComparableError("not every layer's mask can be told without weights")
    several = trace.card.encoder_decoder or len(trace.stacks) > 1
    stacks: dict[str, list[Rule]] = {}
    for mask, calls in trace.distinct_masks():
        rules = stacks.setdefault(calls[0].stack.value if several else "self", [])
        rule = without_content(mask.rule)
        if rule not in rules:
            rules.append(rule)
    if not stacks:
        raise NotComparableError("no layer has an attention matrix")
    found = {name: tuple(rules) for name, rules in stacks.items()}
    return MaskSet(trace.card.model_type, found, tuple(sorted(kinds)), until)


def without_content(rule: Rule) -> Rule:
    """A rule as it is for one text of real tokens alone: padding and spans of images have nothing to say there.

    Raises:
        NotComparableError: the rule depends on more than positions.
    """
    if isinstance(rule, AllOf):
        return all_of(*map(without_content, rule.parts))
    if isinstance(rule, AnyOf):
        spanless = [part for part in rule.parts if not _is_empty_span(part)]
        return any_of(*map(without_content, spanless))
    alone = rule.alone()
    if alone is None:
        raise NotComparableError(f"the rule {rule} depends on more than positions")
    return alone


def look_alikes(own: MaskSet, others: Iterable[MaskSet], length: int) -> tuple[LookAlike, ...]:
    """Return those of `others` whose set of masks is the same in every stack, for texts of `length` real tokens.

    Raises:
        NotComparableError: `own` is not known at this length.
    """
    if not _known_at(own, length):
        raise NotComparableError(f"beyond {own.until:,} tokens a config does not tell its masks")
    eye = _Eye()
    wanted = _seen(own, lambda rule: eye.square(rule, length))
    found = []
    for other in others:
        if other.stacks.keys() != own.stacks.keys() or not _known_at(other, length):
            continue
        if _seen(other, lambda rule: eye.square(rule, length)) == wanted:
            ends = [end for end in (_last_alike(eye, own, other, length), own.until, other.until) if end is not None]
            found.append(LookAlike(other, min(ends, default=None)))
    return tuple(found)


def _known_at(masks: MaskSet, length: int) -> bool:
    return masks.until is None or length <= masks.until


def _is_empty_span(rule: Rule) -> bool:
    return isinstance(rule, Span) and not (rule.span.array >= 0).any()


def _seen(masks: MaskSet, look: Look) -> dict[str, frozenset[Hashable]]:
    """What each stack's masks look like, however many rules make the same one."""
    return {stack: frozenset(look(rule) for rule in rules) for stack, rules in masks.stacks.items()}


def _last_alike(eye: _Eye, own: MaskSet, other: MaskSet, length: int) -> int | None:
    """The last length at which two sets that look the same at `length` still do.

    A mask changes its nature only where one of its rules begins to block: up to there, a longer one differs from a
    shorter one by its last row and column alone.
    """
    rules = {rule for masks in (own, other) for of_stack in masks.stacks.values() for rule in of_stack}
    turns = sorted(
        {first for rule in rules for leaf in rule.leaves() for first in leaf.first_blocked() if first > length}
    )
    for place, turn in enumerate(turns):
        if turn > _LONGEST_ROW:
            return None if own.stacks == other.stacks else turn - 1

        def edges(rule: Rule, known: tuple[int, ...] = tuple(turns[: place + 1])) -> Hashable:
            return (eye.square(rule, length), *(eye.edge(rule, one) for one in known))

        if _seen(own, edges) != _seen(other, edges):
            return turn - 1
    return None


class _Eye:
    """Looks at rules, at each one once: fingerprints of whole masks, and of their last rows and columns."""

    def __init__(self) -> None:
        self._known: dict[tuple[Rule, int, bool], bytes] = {}

    def square(self, rule: Rule, length: int) -> bytes:
        """Fingerprint of a mask of `length` x `length` cells."""
        return self._look(rule, length, (Grid.of(1, length, length),))

    def edge(self, rule: Rule, length: int) -> bytes:
        """Fingerprint of the last row and the last column of a mask of `length` x `length` cells."""
        last = length - 1
        return self._look(rule, length, (Grid.of(1, 1, length, last), Grid.of(1, length, 1, 0, last)))

    def _look(self, rule: Rule, length: int, grids: tuple[Grid, ...]) -> bytes:
        key = (rule, length, len(grids) == 1)
        if key not in self._known:
            cells = [np.broadcast_to(rule.visible(at), at.shape) for at in grids]
            self._known[key] = sha256(b"".join(np.packbits(one).tobytes() for one in cells)).digest()
        return self._known[key]
