"""What a check finds: the traps, how sure a finding is, and how the findings of a check are told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from maskviz.core.words import Severity


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
class Unasked:
    """Rules that a check could not ask.

    Attributes:
        traps: Ids, in the order of the traps.
        reason: What is missing, such as "no mask file is given".
    """

    traps: tuple[str, ...]
    reason: str


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
