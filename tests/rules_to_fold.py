"""Random rules of runs, for tests that compare what is worked out of a rule with its cells."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from maskviz.core.arrays import ByteArray, Content
from maskviz.core.rules.algebra import Everything, Grid, Rule, all_of
from maskviz.core.rules.extents import Lengths
from maskviz.core.rules.kinds import Ahead, Band, BlockCausal, Causal, Chunk, Document, Padding, Prefix, Window

LONGEST = 24

sizes = st.builds(Lengths, st.integers(1, LONGEST), st.integers(1, LONGEST), st.sampled_from([0, 0, 3, 11]))


def windows() -> st.SearchStrategy[Rule]:
    """Rules of distance."""
    return st.one_of(
        st.just(Causal()),
        st.builds(Window, st.integers(0, 12)),
        st.builds(Ahead, st.integers(-2, 9)),
        st.builds(Band, st.integers(-1, 9)),
    )


@st.composite
def chunks(draw: st.DrawFn, batch: int) -> Rule:
    """Chunks that start anywhere in each row."""
    start = draw(st.lists(st.integers(0, 7), min_size=batch, max_size=batch))
    return Chunk(draw(st.integers(1, 9)), Content(start, np.int64))


def blocks(batch: int) -> st.SearchStrategy[Rule]:
    """Whole blocks, and prefixes of each row's own length."""
    lengths = st.lists(st.integers(0, LONGEST), min_size=batch, max_size=batch)
    return st.one_of(
        st.builds(BlockCausal, st.integers(1, 9)), lengths.map(lambda each: Prefix(Content(each, np.int64)))
    )


@st.composite
def documents(draw: st.DrawFn, batch: int) -> Rule:
    """Documents in one piece each, ids in any order; the table may be shorter or longer than the text."""
    tokens = draw(st.integers(1, LONGEST + 14))
    names = np.array(draw(st.permutations(range(6))))
    piece = st.lists(st.integers(0, 5), min_size=tokens, max_size=tokens).map(sorted)
    rows = [names[draw(piece)] for _ in range(batch)]
    return Document(Content(rows, np.int64))


@st.composite
def paddings(draw: st.DrawFn, batch: int) -> Rule:
    """Padding anywhere, of keys alone or of queries too."""
    tokens = draw(st.integers(1, LONGEST + 14))
    row = st.lists(st.booleans(), min_size=tokens, max_size=tokens)
    return Padding(Content(draw(st.lists(row, min_size=batch, max_size=batch)), np.bool_), draw(st.booleans()))


@st.composite
def rules(draw: st.DrawFn, batch: int = 1) -> Rule:
    """Conjunctions of up to four rules for `batch` rows."""
    leaf = st.one_of(windows(), chunks(batch), blocks(batch), documents(batch), paddings(batch))
    return all_of(Everything(), *draw(st.lists(leaf, max_size=4)))


def reasons_of(rule: Rule, size: Lengths, batch: int = 1) -> ByteArray:
    """Reason bits of every cell, uint8 [batch, query, key]."""
    at = Grid.of(batch, size.queries, size.keys, size.offset)
    cells: ByteArray = np.broadcast_to(rule.reasons(at), at.shape)[:, 0]
    return cells
