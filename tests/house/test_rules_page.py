"""The page of the rules of `check` is what the rules say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskviz.analyse.check import LINTS
from maskviz.core.checks.findings import Need
from maskviz.core.checks.known import NOT_CHECKED, TRAPS

WORDS = {
    Need.ARRAY: "a mask",
    Need.BATCH: "a batch",
    Need.LABELS: "labels",
    Need.MODEL: "a model",
    Need.RUN: "a run",
    Need.WEIGHTS: "weights",
    Need.MEANT: "--meant",
    Need.ABLATED: "--outputs",
}
PAGE = Path(__file__).parents[2] / "docs" / "rules.md"
HEAD = """# The rules of `maskviz check`

{count} ways in which masks, batches and models go wrong, by group: P padding and positions, B ids, labels and what
else comes in a batch, T polarity, type and shape of masks, N numbers, L layers, K packed texts, H heads. An error may
be said as a warning where less is known. `maskviz check --list` prints the first columns; `--select` and `--ignore`
take ids and groups. The page is written from the rules: `pytest tests/house/test_rules_page.py --overwrite`.

| id | severity | name | what goes wrong | what to do | needs | known from |
|---|---|---|---|---|---|---|
"""


def cell(text: str) -> str:
    """Text that does not end a cell of a table."""
    return text.replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


def page() -> str:
    rows = []
    for trap in TRAPS.values():
        needs = [", ".join(WORDS[need] for need in lint.needs) for lint in LINTS if lint.trap == trap.id]
        said = (trap.name, trap.sentence, trap.fix, " or ".join(dict.fromkeys(needs)), trap.source)
        rows.append(f"| {trap.id} | {trap.severity} | " + " | ".join(map(cell, said)) + " |\n")
    others = "\n".join(f"- {identity}: {why}" for identity, why in NOT_CHECKED.items())
    return (
        HEAD.format(count=len(TRAPS))
        + "".join(rows)
        + f"\nNot checked, since nothing that is handed over shows it:\n\n{others}\n"
    )


def test_the_page_of_rules_is_what_the_rules_say(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--overwrite"):
        PAGE.parent.mkdir(exist_ok=True)
        PAGE.write_text(page(), encoding="utf-8")
    assert PAGE.read_text("utf-8") == page(), "run pytest tests/house/test_rules_page.py --overwrite"
