"""Every rule catches what it is for and lets pass what comes near it."""

from __future__ import annotations

import ast
import dataclasses
import inspect
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import maskviz.analyse.check
import maskviz.core.checks.case
from maskviz.analyse.check import LINTS, check, unasked
from maskviz.core.checks.case import Ablated, Behaviour, Case, ModelFacts, PaddedText, Trial, Tried, Unasked
from maskviz.core.checks.findings import Lint
from maskviz.core.checks.known import NOT_CHECKED, TRAPS, found
from maskviz.core.rules.kinds import Causal
from maskviz.core.run.trace import Crossing
from maskviz.core.words import Purpose, Severity
from tests.analyse.lints import (
    array_examples,
    behaviour_examples,
    contents_examples,
    evidence_examples,
    padding_examples,
)
from tests.analyse.lints.cases import DECODER, Example, rows, run_of

LINTS_FOLDER = Path(maskviz.analyse.check.__file__).parent / "lints"
EXAMPLES: tuple[Example, ...] = (
    *padding_examples.EXAMPLES,
    *contents_examples.EXAMPLES,
    *behaviour_examples.EXAMPLES,
    *evidence_examples.EXAMPLES,
    *array_examples.EXAMPLES,
)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.id} {one.name}")
def test_a_rule_catches_its_trap_and_no_other_rule_speaks_up(example: Example) -> None:
    expected = sorted([example.id, *example.also], key=list(TRAPS).index)
    assert [one.trap.id for one in check(example.caught)] == expected


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.id} {one.name}")
def test_a_rule_lets_pass_what_comes_near(example: Example) -> None:
    assert check(example.missed) == ()


def test_every_trap_has_a_rule_and_every_rule_an_example() -> None:
    assert {lint.trap for lint in LINTS} == set(TRAPS)
    assert {one.id for one in EXAMPLES} == set(TRAPS)
    assert not set(NOT_CHECKED) & set(TRAPS)


def attributes(path: Path) -> set[str]:
    """Names of the attributes that a file reads."""
    tree = ast.parse(path.read_text("utf-8"))
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_every_number_that_a_run_measures_is_read_by_a_rule() -> None:
    asked = (Path(inspect.getfile(Lint)), Path(inspect.getfile(found)))  # what a rule needs, what several say alike
    read = set().union(*map(attributes, (*asked, *LINTS_FOLDER.glob("*.py"))))
    asking = attributes(Path(maskviz.analyse.check.__file__))  # which rules could not be asked is said there
    # `noticeable` is made of them
    derived = {"size", "rounding"} & attributes(Path(maskviz.core.checks.case.__file__))
    for kind in (Behaviour, ModelFacts, PaddedText, Tried, Ablated, Crossing, Trial):
        names = {field.name for field in dataclasses.fields(kind)}
        assert names - read - asking - derived <= {"passes"}, kind  # the cost line says how many passes


def test_a_rule_is_not_asked_without_what_it_needs_and_that_is_said() -> None:
    case = Case(batch=rows("5 6 0 0", keep=("1111",)))
    reasons = {trap: one.reason for one in unasked(case) for trap in one.traps}
    assert reasons["B2"] == "no labels are given"
    assert reasons["L1"] == reasons["P10"] == "the model was not run"
    assert reasons["T2"] == "no mask file is given"
    assert not {"P1", "P6", "P7", "B7"} & set(reasons)
    assert unasked(case, ["P1"]) == ()


def test_what_a_run_left_out_is_said_with_its_reason() -> None:
    run = run_of(Causal(), unasked=(Unasked(("N6",), "M does not give its input embeddings"),))
    case = Case(batch=rows("5 6", keep=("11",)), model=DECODER, run=run)
    assert Unasked(("N6",), "M does not give its input embeddings") in unasked(case)


def test_a_warning_may_be_lighter_than_its_trap() -> None:
    (lighter,) = check(Case(batch=rows("5 6 0 0", keep=("1100",)), model=DECODER))
    assert (lighter.trap.id, lighter.severity) == ("P3", Severity.WARNING)
    assert "to generate" in lighter.fix and "training" in lighter.fix
    (known,) = check(Case(batch=rows("5 6 0 0", keep=("1100",)), model=DECODER, purpose=Purpose.GENERATE))
    assert known.severity is Severity.ERROR


def test_a_hole_in_a_mask_is_a_warning_and_another_length_an_error() -> None:
    hole, length = (check(Case(batch=rows("5 6 7", keep=(keep,))))[0] for keep in ("101", "11"))
    assert (hole.severity, length.severity) == (Severity.WARNING, Severity.ERROR)


def test_findings_come_in_the_order_of_the_traps_and_only_those_asked_for() -> None:
    both = padding_examples.BROKEN
    assert [one.trap.id for one in check(both)] == ["P5", "P5", "P6", "P7"]
    assert [one.trap.id for one in check(both, ["P7", "P6"])] == ["P6", "P7"]


def test_a_backend_that_is_handed_no_mask_is_told_by_what_it_is_handed_and_not_by_its_words() -> None:
    (example,) = (one.caught for one in EXAMPLES if one.id == "L11")
    run = example.run
    assert run is not None
    for words in ("no mask", "nothing", "anything else"):
        for masked, trap in ((False, "L11"), (True, "L7")):
            group = replace(run.handed[0], words=words, masked=masked)
            found = {one.trap.id for one in check(replace(example, run=replace(run, handed=(group,))))}
            assert found & {"L7", "L11"} == {trap}


def test_sentences_of_traps_and_findings_are_whole() -> None:
    for trap in TRAPS.values():
        assert trap.sentence.endswith(".") and trap.fix[-1] in ".)", trap.id
        assert "http" not in trap.source, trap.id
    for finding in (one for example in EXAMPLES for one in check(example.caught)):
        assert finding.message and not finding.message.endswith("."), finding


def test_what_a_weak_constant_lets_through_is_what_the_softmax_gives_to_blocked_cells() -> None:
    (finding,) = check(array_examples.additive(array_examples.CAUSAL, -2.0))
    generator = torch.Generator().manual_seed(0)
    query, key = (torch.randn(4, 16, generator=generator) for _ in range(2))
    blocked = torch.ones(4, 4).triu(1)
    weights = (query @ key.T / 4 - 2 * blocked).softmax(dim=-1)
    leaked = float((weights * blocked).sum(dim=-1).max())
    assert leaked > 0.1
    assert f"up to {leaked:.3f} of" in finding.measured
