"""The rule about seeing what is to be predicted, with its cause."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.analyse.lints.found import found
from maskviz.analyse.lints.layers import layers_in
from maskviz.analyse.lints.numbers import constant
from maskviz.analyse.lints.polarity import bool_in_eager, ones_as_additive, whole_numbers
from maskviz.core.arrays import BoolArray
from maskviz.core.checks.behaviour import Tried
from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Confidence, Finding
from maskviz.core.checks.lint import Lint, Need
from maskviz.core.rules.algebra import Everything, Grid, Rule
from maskviz.core.rules.kinds import Padding
from maskviz.core.rules.recognise import recognise
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Stack


def causal_leak(case: Case) -> Iterator[Finding]:
    """L1: a model that predicts the next token, whose earlier outputs move when a later token is changed."""
    run = case.run
    if run is None or case.model is None or run.earlier is None or run.earlier <= run.noticeable_alike:
        return
    if not case.model.predicts_next and run.trace.batch.decoder is None:
        return
    meant = case.meant is not None and _shows_later(case.meant, run.trace)
    if meant or _sees_ahead_by_rule(run.trace):
        return
    side = Stack.DECODER if run.trace.batch.decoder is not None else None
    ahead = [call for call in run.trace.calls if side in (None, call.stack) and _sees_ahead(call)]
    where = layers_in(ahead, run.trace)
    shown = f"the masks of {where} show later tokens" if ahead else "no mask shows later tokens"
    mended = next((one for one in run.earlier_with if one.left <= run.noticeable_alike), None)
    of_the_user = run.plain is not None and not any(map(_sees_ahead, run.plain.calls))
    if of_the_user:
        shown = f"the mask that was given shows later tokens in {where}"
    yield found(
        "L1",
        where if of_the_user else case.model.architecture,
        f"outputs depend on later tokens; {shown}",
        measured=f"with another later token, earlier outputs move by up to {run.earlier:.2g}",
        confidence=Confidence.MEASURED,
        tried="" if mended is None else f"with {mended.change}: {mended.left:.2g}",
        cure=_cure_of_leak(case, mended, of_the_user),
    )


def _cure_of_leak(case: Case, mended: Tried | None, of_the_user: bool) -> str:
    """What to do by what was tried; "" where nothing else than the class is left."""
    if of_the_user:
        of_type = next((one.trap.id for rule in _OF_TYPES for one in rule(case)), None)
        if of_type is not None:
            return f"Mend what {of_type} says of its numbers: as they are, they block nothing for sure."
        cure = f"Give {mended.change}." if mended is not None else "Join it with the triangle: mask & causal."
        rule = None if case.array is None or case.array.visible is None else known_rule(case.array.visible)
        return cure if rule is None else f"{cure} If {rule} is what is meant, say so, and it is no leak."
    return "" if mended is None else f"Use {mended.change}."


# Rules about numbers that block nothing where they are added.
_OF_TYPES = (ones_as_additive, bool_in_eager, whole_numbers, constant)


def known_rule(visible: BoolArray) -> str | None:
    """A rule of more than padding that has these cells, in words; None where there is none."""
    rule = recognise(visible[:, :1], None)
    says_more = any(not isinstance(leaf, Everything | Padding) for leaf in rule.leaves())
    return str(rule) if rule.readable and says_more else None


def _shows_later(rule: Rule, trace: Trace) -> bool:
    """Whether a rule lets some token of the batch see a later one."""
    side = trace.batch.decoder or trace.batch
    at = Grid.of(side.rows, side.length, side.length, 0)
    return bool((rule.visible(at) & (at.key > at.query)).any())


def _sees_ahead(call: AttentionCall) -> bool:
    return bool(np.triu(call.mask.visible.any(axis=(0, 1)), k=1 + call.mask.query_offset).any())


def _sees_ahead_by_rule(trace: Trace) -> bool:
    """Whether a rule lets tokens of one span see each other: a prefix or an image, both by design."""
    return any(leaf.exception for call in trace.calls for leaf in call.mask.rule.leaves() if _sees_ahead(call))


LINTS: tuple[Lint, ...] = (Lint("L1", causal_leak, (Need.RUN, Need.WEIGHTS)),)
