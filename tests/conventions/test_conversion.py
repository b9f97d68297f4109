"""What is written in a dialect is read again as the same mask; what a dialect cannot say is refused in words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskviz.conventions.conversion import read, write
from maskviz.conventions.head_masks import read_gates, words_of
from maskviz.core.arrays import AnyArray, BoolArray
from maskviz.core.checks.case import Sizes
from maskviz.core.checks.dialects import CONVENTIONS
from maskviz.core.errors import UsageError
from maskviz.core.run.heads import parse_head_mask
from maskviz.core.words import Dialect
from tests.conventions import masks
from tests.conventions.flex_masks import block_mask, cells_of, mask_mod

D = Dialect
PACKED = (D.SEQUENCE_NUMBERS, D.CU_SEQLENS)
KEYS_ALONE = (D.HF_2D, D.TORCH_PADDING)
WITHOUT_HEADS = (*KEYS_ALONE, D.KERAS)
TOKENS = [one for one in D if one not in (D.HEAD_MASK, D.WEIGHTS)]
LEAST = {"float16": -65504.0, "float32": -3.4028234663852886e38, "bfloat16": -3.3895313892515355e38}


@st.composite
def packed(draw: st.DrawFn, dialect: D, rows: int, tokens: int) -> BoolArray:
    """Texts side by side, asked cell by cell; sequence numbers have padding too, anywhere."""
    visible = np.zeros((rows, 1, tokens, tokens), bool)
    least = 1 if dialect is D.CU_SEQLENS else 0
    for row in range(rows):
        numbers = draw(st.lists(st.integers(least, 3), min_size=tokens, max_size=tokens))
        numbers = sorted(numbers) if least else numbers
        for query, key in np.ndindex(tokens, tokens):
            visible[row, 0, query, key] = numbers[query] == numbers[key] > 0
    return visible


@st.composite
def cells(draw: st.DrawFn, dialect: D) -> BoolArray:
    """A mask that a dialect can say, of up to 3 rows, 3 heads, 4 queries and 5 keys."""
    if dialect in PACKED:
        rows = 1 if dialect is D.CU_SEQLENS else draw(st.integers(1, 3))
        return draw(packed(dialect, rows, draw(st.integers(1, 6))))
    rows, heads, queries, keys = (draw(st.integers(1, most)) for most in (3, 3, 4, 5))
    shape = (rows, 1 if dialect in WITHOUT_HEADS else heads, 1 if dialect in KEYS_ALONE else queries, keys)
    bits = draw(st.lists(st.booleans(), min_size=int(np.prod(shape)), max_size=int(np.prod(shape))))
    return np.array(bits).reshape(shape)


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.parametrize("dialect", TOKENS)
def test_a_mask_comes_back_from_every_type_of_a_dialect(dialect: D, data: st.DataObject) -> None:
    visible = data.draw(cells(dialect))
    dtype = data.draw(st.sampled_from(CONVENTIONS[dialect].types))
    rows, heads = visible.shape[:2]
    sizes = Sizes(batch=rows, heads=heads)
    again = read(write(visible, dialect, sizes, dtype), dialect, sizes)
    assert np.array_equal(np.broadcast_to(again, visible.shape), visible)


@settings(max_examples=60, deadline=None)
@given(st.data())
@pytest.mark.parametrize("other", TOKENS)
def test_a_mask_comes_back_through_another_dialect(other: D, data: st.DataObject) -> None:
    visible = data.draw(cells(other))
    first = data.draw(st.sampled_from([D.SDPA, D.HF_4D, D.FLAX, D.TORCH_MHA, D.TORCH_MHA_FLOAT]))
    sizes = Sizes(batch=visible.shape[0], heads=visible.shape[1])
    between = read(write(visible, first, sizes), first, sizes)
    again = read(write(between, other, sizes), other, sizes)
    assert np.array_equal(np.broadcast_to(again, visible.shape), visible)


def test_polarities_and_axes_are_those_of_the_table() -> None:
    keep = np.array([[True, True, False]])[:, None, None, :]
    sizes = Sizes(queries=2)
    said: dict[D, Any] = {
        D.HF_2D: [[1, 1, 0]],
        D.TORCH_PADDING: [[False, False, True]],
        D.KERAS: [[[1, 1, 0]] * 2],
        D.SDPA: [[[[True, True, False]] * 2]],
        D.FLEX: [[[[True, True, False]] * 2]],
        D.FLAX: [[[[1.0, 1.0, 0.0]] * 2]],
        D.HF_4D: [[[[0.0, 0.0, LEAST["float32"]]] * 2]],
        D.TORCH_MHA: [[False, False, True]] * 2,
        D.TORCH_MHA_FLOAT: [[0.0, 0.0, -np.inf]] * 2,
        D.SEQUENCE_NUMBERS: [[1, 1, 0]],
        D.CU_SEQLENS: [0, 2],  # without its padding
    }
    assert set(said) == set(TOKENS)
    for dialect, expected in said.items():
        own = Sizes() if dialect in (*KEYS_ALONE, *PACKED) else sizes
        assert write(keep, dialect, own).tolist() == expected, dialect


def test_a_mask_of_a_batch_lies_row_by_row_with_the_heads_of_a_row_together() -> None:
    """As `repeat_interleave(heads, dim=0)` makes it, counted out here."""
    visible = masks.BOTH
    written = write(visible, D.TORCH_MHA, Sizes(heads=3))
    assert written.shape == (6, masks.QUERIES, masks.KEYS)
    for row in range(2):
        for head in range(3):
            assert np.array_equal(written[row * 3 + head], ~visible[row, 0])


@pytest.mark.parametrize("dtype", list(LEAST))
def test_an_additive_mask_blocks_with_the_least_number_of_its_type(dtype: str) -> None:
    written = write(masks.CAUSAL, D.HF_4D, Sizes(), dtype)
    assert sorted(set(written.ravel().tolist())) == [LEAST[dtype], 0.0]
    assert str(written.dtype) == ("float32" if dtype == "bfloat16" else dtype)


def test_an_axis_of_one_stands_for_all_until_sizes_are_asked_for() -> None:
    assert write(masks.PADDING, D.SDPA, Sizes()).shape == (2, 1, 1, 7)
    assert write(masks.PADDING, D.SDPA, Sizes(heads=8, queries=7)).shape == (2, 1, 7, 7)
    assert write(masks.CAUSAL, D.HF_4D, Sizes(batch=4)).shape == (4, 1, 5, 7)
    assert write(np.repeat(masks.CAUSAL, 3, axis=1), D.SDPA, Sizes()).shape == (1, 1, 5, 7), "all heads see the same"


ONES = np.ones((1, 4), np.int64)
_CAUSAL = np.tril(np.ones((4, 4), bool))
_NAMES = np.array([1, 1, 2, 2])
_TEXTS = (_NAMES[:, None] == _NAMES)[None, None]
_SEEN = (np.arange(4) != 3)[None]
_TURNS = np.array([0, 1, 0, 1])
_IN_PIECES = (_TURNS[:, None] == _TURNS)[None, None]


@pytest.mark.parametrize(
    ("visible", "dialect", "sizes", "said"),
    [
        (
            np.array([[1, 1], [1, 1], [1, 1], [1, 0]], bool)[None, None],
            D.HF_2D,
            Sizes(),
            "hf-2d says one thing for every query, and this mask differs between queries 0 and 3",
        ),
        (masks.BY_HEAD, D.KERAS, Sizes(), "keras says one thing for every head, .* between heads 0 and 1"),
        (masks.BOTH, D.TORCH_MHA, Sizes(), "the heads are not said"),
        (masks.CAUSAL, D.SDPA, Sizes(keys=9), "the mask has 7 keys, and keys= says 9"),
        (masks.BOTH, D.SDPA, Sizes(batch=3), "the mask has 2 rows, and batch= says 3"),
        (masks.BY_HEAD, D.SDPA, Sizes(heads=2), "the mask has 3 heads, and heads= says 2"),
        (masks.CAUSAL, D.HEAD_MASK, Sizes(), "nothing of tokens"),
        (masks.CAUSAL, D.WEIGHTS, Sizes(), "no mask"),
        (_TEXTS & _CAUSAL, D.SEQUENCE_NUMBERS, Sizes(), "leaves it to the model .* later key, as in row 1"),
        (_TEXTS & _CAUSAL, D.CU_SEQLENS, Sizes(), r"leaves it .* \(causal=True\)"),
        (~_TEXTS, D.SEQUENCE_NUMBERS, Sizes(), "this mask says more"),
        (masks.CAUSAL, D.SEQUENCE_NUMBERS, Sizes(), "as many queries as keys, and this mask 5 and 7"),
        (masks.BY_HEAD, D.CU_SEQLENS, Sizes(), "cu-seqlens says one thing for every head"),
        (_TEXTS, D.CU_SEQLENS, Sizes(batch=2), "lays whole texts one behind the other, and this mask has 2 rows"),
        (_TEXTS & (np.arange(4) != 3), D.CU_SEQLENS, Sizes(), "this mask says more"),
        (_TEXTS & _SEEN & _SEEN.T, D.CU_SEQLENS, Sizes(), "and token 3 is padding"),
        (_IN_PIECES, D.CU_SEQLENS, Sizes(), "the text of token 2 is in pieces"),
        (masks.PADDING & False, D.CU_SEQLENS, Sizes(), "row 1 keeps no token"),
        (masks.CAUSAL, D.SDPA, Sizes(batch=10**9), "more than the 268,435,456"),
        (masks.BOTH, D.TORCH_MHA, Sizes(heads=10**9), "more than the 268,435,456"),
    ],
)
def test_what_a_dialect_cannot_say_is_refused_with_the_reason(
    visible: BoolArray, dialect: D, sizes: Sizes, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        write(visible, dialect, sizes)


def test_a_type_a_dialect_has_not_is_refused() -> None:
    with pytest.raises(UsageError, match="sdpa is not written as float8") as error:
        write(masks.CAUSAL, D.SDPA, Sizes(), "float8")
    assert error.value.hint == "one of bool"


@pytest.mark.parametrize(
    ("values", "dialect", "sizes", "said"),
    [
        (_CAUSAL[None, None], D.HF_4D, Sizes(), "hf-4d adds its numbers to the scores, and this mask is bool"),
        (_CAUSAL[None, None].astype("f4"), D.HF_4D, Sizes(), "these are 0 and 1: they would block nothing"),
        (_CAUSAL[None, None].astype("i8"), D.SDPA, Sizes(), "sdpa is bool, and this mask is int64"),
        (_CAUSAL.astype("f4"), D.TORCH_MHA, Sizes(), "torch-mha is bool, and this mask is float32"),
        (np.where(_CAUSAL, 0, np.nan)[None, None], D.HF_4D, Sizes(), r"the mask has nan at \[0, 0, 0, 1\]"),
        (np.where(_CAUSAL, 0, np.inf), D.TORCH_MHA_FLOAT, Sizes(), r"the mask has inf at \[0, 1\]"),
        (np.array([[1, 2]]), D.HF_2D, Sizes(), r"hf-2d has 0 and 1, and this mask has 2 at \[0, 1\]"),
        (np.array([[0.0, -1e9]]), D.HF_2D, Sizes(), r"has -1e\+09 at \[0, 1\]"),
        (ONES[None, None, None], D.SDPA, Sizes(), r"this mask is \[1, 1, 1, 1, 4\]"),
        (np.ones(()), D.HF_2D, Sizes(), r"this mask is \[\]"),
        (np.zeros((0, 4)), D.HF_2D, Sizes(), "holds nothing"),
        (_CAUSAL, D.KERAS, Sizes(), r"keras is \[batch, query, key\], and this mask is \[4, 4\]"),
        (np.ones((2, 2), complex), D.HF_2D, Sizes(), "a mask of complex128 is none"),
        (np.array([[None]]), D.HF_2D, Sizes(), "a mask of object is none"),
        (np.array([["a"]]), D.HF_2D, Sizes(), "a mask of <U1 is none"),
        (np.array([[1, -2]]), D.SEQUENCE_NUMBERS, Sizes(), "the array has -2, as sequence-numbers never does"),
        (np.array([[1.0, 2.0]]), D.SEQUENCE_NUMBERS, Sizes(), "of whole numbers, and this array is float64"),
        (np.ones((1, 1, 4), int), D.SEQUENCE_NUMBERS, Sizes(), r"sequence-numbers is \[batch, token\]"),
        (np.array([1, 3]), D.CU_SEQLENS, Sizes(), "the array starts at 1 and not at 0"),
        (np.array([0, 3, 2]), D.CU_SEQLENS, Sizes(), "does not rise from 3 at 1 to 2 at 2"),
        (np.array([[0, 3]]), D.CU_SEQLENS, Sizes(), r"this mask is \[1, 2\]"),
        (np.array([0, 10**6]), D.CU_SEQLENS, Sizes(), "more than the 268,435,456"),
        (np.array([0.5, 1.0]), D.HEAD_MASK, Sizes(), "nothing of tokens"),
        (np.ones((1, 1, 4, 4)), D.WEIGHTS, Sizes(), "what came out of a mask"),
        (
            np.ones((2, 4, 4), bool),
            D.TORCH_MHA,
            Sizes(batch=2, heads=8),
            r"has 2·8 = 16 masks, and this one 2: \[2, 4, 4\] is \[batch, query, key\], without its heads",
        ),
        (np.ones((6, 4, 4), bool), D.TORCH_MHA, Sizes(heads=4), r"has batch·4 masks, and this one 6"),
        (np.ones((6, 4, 4), bool), D.TORCH_MHA, Sizes(), "does not say how many heads"),
    ],
)
def test_an_array_that_a_dialect_does_not_have_is_refused_with_the_place(
    values: AnyArray, dialect: D, sizes: Sizes, said: str
) -> None:
    with pytest.raises(UsageError, match=said) as error:
        read(values, dialect, sizes)
    assert error.value.hint


def test_heads_follow_from_the_rows_where_only_those_are_said() -> None:
    assert read(np.ones((6, 4, 4), bool), D.TORCH_MHA, Sizes(batch=2)).shape == (2, 3, 4, 4)


def test_three_axes_for_sdpa_are_heads_as_torch_broadcasts_them() -> None:
    assert read(np.ones((3, 4, 4), bool), D.SDPA, Sizes()).shape == (1, 3, 4, 4)


def test_blocks_of_a_mask_say_its_cells_again() -> None:
    visible = np.tril(np.ones((1, 1, 300, 300), bool))
    blocks = block_mask(visible)
    assert blocks.shape == (1, 1, 300, 300)
    assert blocks.to_dense()[0, 0].tolist() == [[1, 0, 0], [1, 1, 0], [1, 1, 1]], "blocks of 128"
    assert np.array_equal(cells_of(blocks.mask_mod, (1, 1, 300, 300)), visible)


def test_a_mask_mod_of_one_query_serves_all() -> None:
    assert np.array_equal(cells_of(mask_mod(masks.PADDING), (2, 2, 3, 7)), np.broadcast_to(masks.PADDING, (2, 2, 3, 7)))


def test_a_head_mask_goes_to_layers_and_back_and_to_the_words_of_the_command_line() -> None:
    one = np.array([1, 0, 0.5])
    several = read_gates(one, 4)
    assert several.tolist() == [[1, 0, 0.5]] * 4
    assert read_gates(several, 1).tolist() == one.tolist()
    for gates in (several, np.array([[1, 0, 1], [0, 0, 0]], np.float32)):
        shapes = {"encoder": (len(gates), 3)}
        assert np.array_equal(parse_head_mask(words_of(gates), shapes).gates["encoder"], gates)
    assert words_of(read_gates(one)) == "*:1; *:2=0.5"
    assert parse_head_mask(words_of(read_gates(one)), {"encoder": (4, 3)}).gates["encoder"].tolist() == several.tolist()
    assert words_of(read_gates(np.ones(3))) == ""


@pytest.mark.parametrize(
    ("values", "layers", "said"),
    [
        (np.ones((2, 2, 2)), None, "head-mask is"),
        (np.array([0.0, 2.0]), None, "from 0 to 1"),
        (np.array([np.nan]), None, "from 0 to 1"),
        (np.array(["a"]), None, "from 0 to 1|could not"),
        (np.ones((2, 3)), 4, "has 2 layers, and layers= says 4"),
        (np.array([[1, 0], [0, 1]]), 1, "layers 0 and 1 differ"),
        (np.ones(3), 10**9, "more than any model has"),
    ],
)
def test_what_is_no_head_mask_is_refused(values: AnyArray, layers: int | None, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_gates(values, layers)


def test_offsets_are_where_each_text_begins_and_sequence_numbers_count_them() -> None:
    texts = read(np.array([0, 3, 5, 10], np.int32), D.CU_SEQLENS, Sizes())
    assert write(texts, D.SEQUENCE_NUMBERS, Sizes()).tolist() == [[1, 1, 1, 2, 2, 3, 3, 3, 3, 3]]
    assert write(texts, D.CU_SEQLENS, Sizes()).tolist() == [0, 3, 5, 10]
    assert write(texts, D.CU_SEQLENS, Sizes()).dtype == np.int32


def test_of_a_mask_of_keys_alone_each_row_is_a_text_and_its_padding_is_taken_out() -> None:
    keep = np.array([[1, 1, 0, 0], [1, 1, 1, 0], [0, 0, 0, 1]], bool)[:, None, None]
    assert write(keep, D.CU_SEQLENS, Sizes()).tolist() == [0, 2, 5, 6]
    assert write(keep, D.SEQUENCE_NUMBERS, Sizes()).tolist() == keep[:, 0, 0].astype(int).tolist()
