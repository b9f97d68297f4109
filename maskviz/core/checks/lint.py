"""A rule of a check, with what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Finding, Trap


class Need(StrEnum):
    """What a rule cannot be asked without, by the words that say it is missing."""

    ARRAY = "no mask file is given"
    BATCH = "no batch is given"
    LABELS = "no labels are given"
    MODEL = "no model is given"
    RUN = "the model was not run"
    WEIGHTS = "the model has no weights"
    MEANT = "nobody said which mask is meant"
    ABLATED = "no outputs of an ablation are given"

    def met(self, case: Case) -> bool:
        """Whether a case has it."""
        match self:
            case Need.ARRAY:
                return case.array is not None
            case Need.BATCH:
                return case.batch is not None
            case Need.LABELS:
                labels = () if case.batch is None else (*case.batch.labels, *case.batch.text_labels)
                return any(one is not None for one in labels)
            case Need.MODEL:
                return case.model is not None
            case Need.RUN:
                return case.run is not None
            case Need.WEIGHTS:
                return case.run is None or case.run.weighted
            case Need.MEANT:
                return case.meant is not None
            case Need.ABLATED:
                return case.ablated is not None


@dataclass(frozen=True, slots=True)
class Lint:
    """A rule: one way to see whether something fell into a trap.

    Attributes:
        trap: Id of the trap.
        ask: A case goes in; a finding for each place that fell into the trap comes out, none where the case cannot
            tell.
        needs: What a case must have for the answer to mean anything.
    """

    trap: str
    ask: Callable[[Case], Iterable[Finding]]
    needs: tuple[Need, ...]


@dataclass(frozen=True, slots=True)
class Check:
    """A rule that another package brings: a trap of its own, and the way to see it.

    Attributes:
        trap: The trap.
        ask: As a `Lint` has it; what it finds are findings of the trap.
        needs: As a `Lint` has it.
    """

    trap: Trap
    ask: Callable[[Case], Iterable[Finding]]
    needs: tuple[Need, ...] = ()
