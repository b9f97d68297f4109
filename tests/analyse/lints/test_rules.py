"""Every rule catches what it is for and lets pass what comes near it."""

from __future__ import annotations

import pytest
import torch

from maskviz.analyse.check import LINTS, check
from maskviz.core.traps import NOT_CHECKED, TRAPS
from tests.analyse.lints import array_examples, behaviour_examples, padding_examples
from tests.analyse.lints.cases import Example

EXAMPLES: tuple[Example, ...] = (*padding_examples.EXAMPLES, *behaviour_examples.EXAMPLES, *array_examples.EXAMPLES)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.id} {one.name}")
def test_a_rule_catches_its_trap_and_no_other_rule_speaks_up(example: Example) -> None:
    expected = sorted([example.id, *example.also], key=list(TRAPS).index)
    assert [one.trap.id for one in check(example.caught)] == expected


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda one: f"{one.id} {one.name}")
def test_a_rule_lets_pass_what_comes_near(example: Example) -> None:
    assert check(example.missed) == ()


def test_every_trap_has_a_rule_and_every_rule_an_example() -> None:
    assert {identity for identity, _ in LINTS} == set(TRAPS)
    assert {one.id for one in EXAMPLES} == set(TRAPS)
    assert not set(NOT_CHECKED) & set(TRAPS)


def test_findings_come_in_the_order_of_the_traps_and_only_those_asked_for() -> None:
    both = padding_examples.BROKEN
    assert [one.trap.id for one in check(both)] == ["P5", "P5", "P6", "P7"]
    assert [one.trap.id for one in check(both, ["P7", "P6"])] == ["P6", "P7"]


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
