"""What a package that extends maskviz imports; docs/extending.md says how it is used."""

from __future__ import annotations

from maskviz.core.arrays import BoolArray, Content
from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Check, Confidence, Finding, Need, Trap
from maskviz.core.rules.algebra import Everything, Grid, Leaf, Rule, all_of, any_of
from maskviz.core.rules.forms import Flag, Form, PerRow, PerToken, Said, Whole
from maskviz.core.rules.mask_function import MaskFunction
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.seen import Seen
from maskviz.core.rules.typed import Typed
from maskviz.core.rules.verdicts import Verdict
from maskviz.core.words import Severity

__all__ = [
    "BoolArray",
    "Case",
    "Check",
    "Confidence",
    "Content",
    "Everything",
    "Finding",
    "Flag",
    "Form",
    "Grid",
    "Leaf",
    "MaskFunction",
    "Need",
    "PerRow",
    "PerToken",
    "Reason",
    "Rule",
    "Said",
    "Seen",
    "Severity",
    "Trap",
    "Typed",
    "Verdict",
    "Whole",
    "all_of",
    "any_of",
]
