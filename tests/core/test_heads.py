"""Naming heads: selections, and the grammar of head masks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskviz.core.errors import UsageError
from maskviz.core.run.heads import Head, HeadMask, head_mask_of, parse_head_mask, parse_selection

SHAPES = {"decoder": (5, 6)}


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("0", (0,)),
        ("0,2-4,-1", (0, 2, 3, 4, 5)),
        ("*", (0, 1, 2, 3, 4, 5)),
        ("-6", (0,)),
        ("3,3", (3,)),
        (" 1 , 2 ", (1, 2)),
    ],
)
def test_selections_read_numbers_ranges_and_negatives(text: str, chosen: tuple[int, ...]) -> None:
    assert parse_selection(text, 6, "head") == chosen


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("6", "head 6 does not exist"),
        ("-7", "head -7 does not exist"),
        ("4-2", "runs backwards"),
        ("a", "cannot read 'a'"),
        ("", "cannot read ''"),
        ("1;2", "cannot read '1;2'"),
        ("9" * 5000, "cannot read"),
    ],
)
def test_selections_say_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        parse_selection(text, 6, "head")


def test_the_grammar_silences_keeps_and_scales() -> None:
    gates = parse_head_mask("0:3,5; 2:*; 4:1=0.5; keep 3:1,2", SHAPES).gates["decoder"]
    assert gates.tolist() == [
        [1, 1, 1, 0, 1, 0],
        [1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 0],
        [0, 1, 1, 0, 0, 0],
        [1, 0.5, 1, 1, 1, 1],
    ]


def test_layers_may_be_ranges_and_negative() -> None:
    gates = parse_head_mask("1-2:0; -1:-1", SHAPES).gates["decoder"]
    assert np.argwhere(gates == 0).tolist() == [[1, 0], [2, 0], [4, 5]]


def test_a_stack_is_named_before_its_layers() -> None:
    shapes = {"encoder": (2, 2), "decoder": (2, 2), "cross": (2, 2)}
    mask = parse_head_mask("cross 1:0; 0:1", shapes)
    assert mask.changed() == (("encoder", Head(0, 1), 0.0), ("cross", Head(1, 0), 0.0))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0:3; x", "column 6: cannot read 'x'"),
        ("  7:1", "column 3: layer 7 does not exist"),
        ("0:3; 1:6", "column 6: head 6 does not exist"),
        ("0:1=2", "the gate '2' is no number from 0 to 1"),
        ("0:1=x", "the gate 'x'"),
        ("0:1=nan", "the gate 'nan'"),
        ("keep 0:1=0.5", "'keep' takes no gate"),
        ("encoder 0:1", "this model has no encoder attention"),
        ("", "names no head"),
        (" ; ;", "names no head"),
        ("0:1:2", "cannot read"),
        ("0:1; kv:3", "column 6: cannot read 'kv:3'"),
        ("kv:3:1", "column 1: cannot read 'kv:3:1'"),
        ("kv:5.0", "column 1: layer 5 does not exist"),
        ("0:1; kv:0.6", "column 6: key head 6 does not exist"),
        ("keep kv:0.1=0.5", "'keep' takes no gate"),
    ],
)
def test_a_head_mask_that_does_not_parse_says_where(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_head_mask(text, SHAPES)
    assert said in caught.value.message


GROUPS = {"decoder": (3, 3, 1, 3, 2)}


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("kv:3.1", "3:3-5"),
        ("kv:0-1.0,1=0.5", "0-1:*=0.5"),
        ("kv:0.-1; kv:*.0", "0:3-5; 0-1:0-2; 2:0; 3:0-2; 4:0,1"),
        ("kv:2.4", "2:4"),
        ("decoder kv:4.1", "4:2,3"),
        ("keep kv:0,4.0", "0:3-5; 4:2-5"),
        (" kv:0.0 ; kv:0.0=1", "0:0=1"),
    ],
)
def test_a_key_head_stands_for_the_query_heads_that_read_it(text: str, same: str) -> None:
    gates = parse_head_mask(text, SHAPES, GROUPS).gates["decoder"]
    assert gates.tolist() == parse_head_mask(same, SHAPES).gates["decoder"].tolist()


def test_a_layer_has_as_many_key_heads_as_groups_and_without_groups_one_for_each_head() -> None:
    assert parse_head_mask("kv:4.5", SHAPES).changed() == (("decoder", Head(4, 5), 0.0),)
    with pytest.raises(UsageError, match="key head 2 does not exist") as caught:
        parse_head_mask("kv:0-4.2", SHAPES, GROUPS)
    assert caught.value.hint == "this model has key heads 0 to 1"


@given(st.lists(st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=3, max_size=3), min_size=2, max_size=4))
def test_a_head_mask_prints_in_its_own_grammar(rows: list[list[float]]) -> None:
    mask = HeadMask({"decoder": np.array(rows)})
    text = str(mask)
    if text:
        assert np.array_equal(
            parse_head_mask(text, {"decoder": (len(rows), 3)}).gates["decoder"], mask.gates["decoder"]
        )
    else:
        assert (np.array(rows) == 1).all()


def test_arrays_need_the_shape_of_the_model_and_values_from_0_to_1() -> None:
    assert head_mask_of(np.ones((5, 6), np.float32), SHAPES).changed() == ()
    with pytest.raises(UsageError, match="2 x 2, the model has 5 layers x 6 heads"):
        head_mask_of(np.ones((2, 2), np.float32), SHAPES)
    with pytest.raises(UsageError, match="outside"):
        head_mask_of(np.full((5, 6), 2, np.float32), SHAPES)
    with pytest.raises(UsageError, match="outside"):
        head_mask_of(np.full((5, 6), np.nan, np.float32), SHAPES)


def test_arrays_may_be_given_by_stack_and_stacks_left_out_keep_all() -> None:
    shapes = {"encoder": (2, 3), "decoder": (1, 3), "cross": (1, 3)}
    gates = np.array([[1, 0.5, 0]], np.float32)
    mask = head_mask_of({"cross": gates}, shapes)
    assert mask.changed() == (("cross", Head(0, 1), 0.5), ("cross", Head(0, 2), 0.0))
    assert {stack: table.shape for stack, table in mask.gates.items()} == shapes
    with pytest.raises(UsageError, match="names 'crosses', which the model has not") as caught:
        head_mask_of({"crosses": gates}, shapes)
    assert caught.value.hint == "it has encoder, decoder, cross"
    with pytest.raises(UsageError, match="is 1 x 3, the encoder has 2 layers x 3 heads"):
        head_mask_of({"decoder": gates, "encoder": gates}, shapes)
    with pytest.raises(UsageError, match="the gates of the decoder"):
        head_mask_of({"decoder": 2 * gates}, shapes)


def test_the_gates_of_a_layer_without_changes_are_none() -> None:
    mask = parse_head_mask("1:0", SHAPES)
    assert mask.of("decoder", 0) is None
    assert mask.of("cross", 1) is None
    gates = mask.of("decoder", 1)
    assert gates is not None
    assert gates.tolist() == [0, 1, 1, 1, 1, 1]
