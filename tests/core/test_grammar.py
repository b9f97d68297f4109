"""Rules said and read back."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskviz.core.arrays import Content
from maskviz.core.errors import UsageError
from maskviz.core.rules.algebra import Everything, Rule, all_of
from maskviz.core.rules.grammar import parse_rule
from maskviz.core.rules.kinds import (
    Ahead,
    Band,
    BlockCausal,
    BlockDiffusion,
    Causal,
    Chunk,
    Document,
    Padding,
    Prefix,
    Window,
)

DOCUMENT = Content([[0, 0, 1, 1]], np.int64)
KEEP = Content([[True, True, True, False]], np.bool_)
numbers = st.integers(1, 10_000_000)
leaves = st.one_of(
    st.sampled_from([Everything(), Causal(), Document(DOCUMENT), Padding(KEEP), Padding(KEEP, queries=True)]),
    st.builds(Window, numbers),
    st.builds(Band, numbers),
    st.builds(Ahead, numbers),
    st.builds(BlockCausal, numbers),
    numbers.map(lambda length: Prefix(Content([length], np.int64))),
    st.builds(BlockDiffusion, numbers, numbers),
    st.builds(Chunk, numbers, st.just(Content([0], np.int64))),
)
conjunctions = st.lists(leaves, min_size=1, max_size=6).map(lambda parts: all_of(*parts))


@given(conjunctions, st.sampled_from([" ∧ ", " & ", " and ", "&", " && "]))
def test_a_rule_that_was_said_is_read_back(rule: Rule, between: str) -> None:
    said = str(rule).replace(" ∧ ", between)
    assert parse_rule(said, DOCUMENT, KEEP) == rule
    assert str(parse_rule(said, DOCUMENT, KEEP)) == str(rule)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("window(4096)&causal", "causal ∧ window(4096)"),
        ("Causal AND Documents", "causal ∧ document"),
        ("band( 12 )", "window(±12)"),
        ("window(+-12)", "window(±12)"),
        ("window (1,024)", "window(1024)"),
        ("bidirectional & causal & causal", "causal"),
        ("padding(keys,queries)", "padding(keys, queries)"),
        ("Block( 4 )&padding", "block(4) ∧ padding"),
        ("prefix(0)", "prefix(0)"),
        ("diffusion(4,16)", "diffusion(4, 16)"),
        ("diffusion(1,024, 4,096)", "diffusion(1024, 4096)"),
    ],
)
def test_what_is_typed_prints_in_the_tools_own_words(typed: str, said: str) -> None:
    assert str(parse_rule(typed, DOCUMENT, KEEP)) == said


@pytest.mark.parametrize(
    ("typed", "place", "said"),
    [
        ("causal & widow(4096)", 10, "'widow(4096)' is no known rule"),
        ("causal window(4)", 8, "∧ is expected"),
        ("& causal", 1, "a rule is expected"),
        ("causal &  & causal", 11, "a rule is expected"),
        ("causal | itself", 8, "∧ is expected"),
        ("window", 1, "'window' is no known rule"),
        ("window(many)", 1, "needs a number of tokens from 0"),
        ("causal & chunk(0)", 10, "needs a number of tokens from 1"),
        ("block(0)", 1, "needs a number of tokens from 1"),
        ("diffusion(4)", 1, "needs two numbers"),
        ("diffusion(4, 0)", 1, "needs a number of tokens from 1"),
        ("window(-4)", 1, "needs a number"),
        ("causal(3)", 1, "no known rule"),
        ("(causal)", 1, "a rule is expected"),
        ("window(4", 1, "'window' is no known rule"),
    ],
)
def test_what_is_no_rule_is_said_with_its_place(typed: str, place: int, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_rule(typed)
    assert f"at character {place}: " in caught.value.message
    assert said in caught.value.message
    assert "window(N)" in (caught.value.hint or "")


@pytest.mark.parametrize("typed", ["", "  ", "causal &"])
def test_a_rule_that_ends_too_early_is_said(typed: str) -> None:
    with pytest.raises(UsageError, match="ends where another is expected"):
        parse_rule(typed)


@pytest.mark.parametrize("typed", ["causal & document", "padding", "padding(keys, queries)"])
def test_documents_and_padding_need_their_tokens(typed: str) -> None:
    with pytest.raises(UsageError, match="not of which tokens"):
        parse_rule(typed)


@given(st.text(max_size=30))
def test_any_text_is_a_rule_or_a_usage_error(text: str) -> None:
    with suppress(UsageError):
        parse_rule(text, DOCUMENT, KEEP)
