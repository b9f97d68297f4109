"""What a check finds: traps, findings, and the rules that find them with what they need."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from maskviz.core.words import Severity

if TYPE_CHECKING:
    from maskviz.core.checks.case import Case, Unasked


class Confidence(StrEnum):
    """How a finding is known."""

    MEASURED = "measured"  # a model or a framework was run
    CERTAIN = "certain"  # it follows from what was given
    LIKELY = "likely"  # a bare array fits nothing else that is usual
    POSSIBLE = "possible"  # a bare array fits it, and something legal too


@dataclass(frozen=True, slots=True)
class Trap:
    """A known way for a mask to go wrong.

    Attributes:
        id: Stable, a letter of its group and a number, such as "P1".
        name: A few words with hyphens, such as "pad-no-mask".
        severity: How bad it is at its worst; a finding may say that here it is less.
        sentence: What goes wrong, one sentence.
        fix: What to do, one sentence.
        source: Where it was met: issue numbers, papers, documentation; without links.
    """

    id: str
    name: str
    severity: Severity
    sentence: str
    fix: str
    source: str


@dataclass(frozen=True, slots=True)
class Finding:
    """A trap that something fell into.

    Attributes:
        trap: The trap.
        where: What fell into it: "text 2", "layers 0-3", a file; empty for the whole.
        message: What was seen, one sentence with its values, no final full stop.
        measured: What it costs in this run, one sentence with numbers; empty where nothing could be run.
        confidence: How it is known.
        row: Row of the batch it is about, from 0, or None.
        tried: The smallest change that was tried and made it go away, with what was left, such as "with ~mask: 0.0";
            empty where none was tried.
        cure: What to do about this one, by the cause that was measured; empty where the trap's own fix says it.
        weight: Its severity where it is not that of the trap.
    """

    trap: Trap
    where: str
    message: str
    measured: str = ""
    confidence: Confidence = Confidence.CERTAIN
    row: int | None = None
    tried: str = ""
    cure: str = ""
    weight: Severity | None = None

    @property
    def rule(self) -> str:
        """Id of the trap."""
        return self.trap.id

    @property
    def severity(self) -> Severity:
        """How bad it is here."""
        return self.weight or self.trap.severity

    @property
    def fix(self) -> str:
        """What to do, one sentence."""
        return self.cure or self.trap.fix


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check found.

    Attributes:
        subject: What was checked: a model and its texts, or a file.
        about: The model in a line; empty where there is none.
        findings: In the order of the traps.
        asked: What was looked at and run, a phrase each.
        notes: What else there is to know, a sentence each.
        file: The file that was checked; "" for texts of the command line.
        lines: Line of the file each row is from; empty where it has none.
        unasked: The chosen rules that could not be asked, with what is missing.
        passes: Forward passes of the model that the check took.
    """

    subject: str
    about: str
    findings: tuple[Finding, ...]
    asked: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    file: str = ""
    lines: tuple[int, ...] = ()
    unasked: tuple[Unasked, ...] = ()
    passes: int = 0

    def count(self, severity: Severity) -> int:
        """Findings of one severity."""
        return sum(finding.severity is severity for finding in self.findings)


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
