"""A check as JSON, and as SARIF for continuous integration."""

from __future__ import annotations

import json
from typing import Any

import maskviz
from maskviz.core.checks.findings import Checked, Finding, Trap
from maskviz.core.checks.known import TRAPS
from maskviz.core.words import Severity

_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
_LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.NOTE: "note"}


def findings_json(checked: Checked, command: str) -> bytes:
    """A check as JSON: one entry for each finding with its id, severity, place, cost and fix."""
    content = {
        "maskviz": maskviz.__version__,
        "command": command,
        "subject": checked.subject,
        "model": checked.about,
        "findings": [_entry(finding) for finding in checked.findings],
        "asked": list(checked.asked),
        "unasked": [{"rules": list(one.traps), "reason": one.reason} for one in checked.unasked],
        "forward_passes": checked.passes,
        "notes": list(checked.notes),
    }
    return (json.dumps(content, ensure_ascii=False, indent=2) + "\n").encode()


def _entry(finding: Finding) -> dict[str, Any]:
    trap = finding.trap
    return {
        "id": trap.id,
        "name": trap.name,
        "severity": finding.severity.value,
        "where": finding.where,
        "row": finding.row,
        "message": finding.message,
        "measured": finding.measured,
        "tried": finding.tried,
        "confidence": finding.confidence.value,
        "sentence": trap.sentence,
        "fix": finding.fix,
        "source": trap.source,
    }


def findings_sarif(checked: Checked, command: str) -> bytes:
    """A check as SARIF 2.1.0 (OASIS): one run, one result for each finding, every rule described.

    A finding in a file has its path, and the line where rows are lines; one in texts of the command line has a logical
    location, its place in words.
    """
    ids = list(TRAPS)
    driver = {
        "name": "maskviz",
        "version": maskviz.__version__,
        "rules": [_rule(trap) for trap in TRAPS.values()],
    }
    results = [_result(checked, finding, ids.index(finding.trap.id)) for finding in checked.findings]
    invocation = {"executionSuccessful": True, **({"commandLine": command} if command else {})}
    run = {
        "tool": {"driver": driver},
        "invocations": [invocation],
        "results": results,
        "columnKind": "unicodeCodePoints",
    }
    log = {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}
    return (json.dumps(log, ensure_ascii=False, indent=2) + "\n").encode()


def _rule(trap: Trap) -> dict[str, Any]:
    return {
        "id": trap.id,
        "name": trap.name,
        "shortDescription": {"text": trap.sentence},
        "help": {"text": f"{trap.fix} Known from: {trap.source}."},
        "defaultConfiguration": {"level": _LEVELS[trap.severity]},
    }


def _result(checked: Checked, finding: Finding, index: int) -> dict[str, Any]:
    cost = f" Measured: {finding.measured}." if finding.measured else ""
    cost += f" Tried: {finding.tried}." if finding.tried else ""
    where = f"{finding.where}: " if finding.where else ""
    return {
        "ruleId": finding.trap.id,
        "ruleIndex": index,
        "level": _LEVELS[finding.severity],
        "message": {"text": f"{where}{finding.message}.{cost} {finding.fix}"},
        "locations": [_location(checked, finding)],
        "properties": {"confidence": finding.confidence.value, "subject": checked.subject},
    }


def _location(checked: Checked, finding: Finding) -> dict[str, Any]:
    logical = [{"fullyQualifiedName": finding.where or checked.subject}]
    if not checked.file:
        return {"logicalLocations": logical}
    physical: dict[str, Any] = {"artifactLocation": {"uri": _uri(checked.file)}}
    if finding.row is not None and finding.row < len(checked.lines):
        physical["region"] = {"startLine": checked.lines[finding.row]}
    return {"physicalLocation": physical, "logicalLocations": logical}


def _uri(path: str) -> str:
    """A path as a relative reference, or as a file URI where it is absolute (RFC 3986)."""
    from pathlib import PurePath
    from urllib.parse import quote

    pure = PurePath(path)
    return pure.as_uri() if pure.is_absolute() else quote(pure.as_posix())
