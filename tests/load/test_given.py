"""Rows as they were given: what the model is called with is what was in the file."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from maskviz.core.checks.case import GivenBatch
from maskviz.core.errors import UsageError
from maskviz.load.inputs.own_batches import documents_of, encoded_rows, given_of
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Request, encode
from tests.tracing.conftest import loaded_tiny


def rows(**parts: Any) -> GivenBatch:
    made = {"ids": ((5, 6, 0), (7, 8, 9)), "keep": ((1, 1, 0), (1, 1, 1)), "pad_id": 0, "eos_id": 2}
    return GivenBatch(**{**made, **parts})


@pytest.fixture(scope="module")
def gpt2() -> Loaded:
    return loaded_tiny("gpt2")


def test_rows_of_one_length_are_passed_as_they_are(gpt2: Loaded) -> None:
    given = rows(position_ids=((0, 1, 1), (0, 1, 2)), token_types=((0, 0, 0), (0, 1, 1)))
    encoded = encoded_rows(gpt2, given, "right")
    assert {name: one.tolist() for name, one in encoded.inputs.items()} == {
        "input_ids": [[5, 6, 0], [7, 8, 9]],
        "attention_mask": [[1, 1, 0], [1, 1, 1]],
        "position_ids": [[0, 1, 1], [0, 1, 2]],
        "token_type_ids": [[0, 0, 0], [0, 1, 1]],
    }
    assert encoded.batch.keep.tolist() == [[True, True, False], [True, True, True]]
    assert encoded.notes == ()


def test_a_mask_that_keeps_padding_is_passed_on_and_the_padding_known(gpt2: Loaded) -> None:
    encoded = encoded_rows(gpt2, rows(keep=((1, 1, 1), (1, 1, 1))), "right")
    assert encoded.inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert encoded.batch.keep[0].tolist() == [True, True, False]


def test_an_end_of_text_that_is_the_padding_id_is_kept_where_the_mask_says_so(gpt2: Loaded) -> None:
    encoded = encoded_rows(gpt2, rows(keep=((1, 1, 1), (1, 1, 1)), eos_id=0), "right")
    assert encoded.batch.keep.all()


def test_without_a_mask_none_is_passed(gpt2: Loaded) -> None:
    encoded = encoded_rows(gpt2, rows(keep=(None, None)), "right")
    assert "attention_mask" not in encoded.inputs
    assert encoded.batch.keep[0].tolist() == [True, True, False]


@pytest.mark.parametrize(("side", "row"), [("left", [0, 5, 6]), ("right", [5, 6, 0])])
def test_ragged_rows_are_padded_as_a_collator_does_it(gpt2: Loaded, side: str, row: list[int]) -> None:
    encoded = encoded_rows(gpt2, rows(ids=((5, 6), (7, 8, 9)), keep=((1, 1), (1, 1, 1))), side)
    assert encoded.inputs["input_ids"][0].tolist() == row
    assert encoded.inputs["attention_mask"][0].tolist() == [int(one != 0) for one in row]
    assert "padded as a collator does it" in encoded.notes[0]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"keep": (None, (1, 1, 1))}, "some rows have attention_mask and some have none"),
        ({"ids": ((5, 6, 99), (7, 8, 9))}, "id 99 is not in the vocabulary"),
        ({"ids": ((5, 6, -1), (7, 8, 9))}, "id -1 is not in the vocabulary"),
    ],
)
def test_rows_that_do_not_fit_together_are_refused(gpt2: Loaded, parts: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        encoded_rows(gpt2, rows(**parts), "right")


def test_rows_beyond_the_positions_are_refused_unless_they_restart(gpt2: Loaded) -> None:
    long = rows(ids=((5,) * 70,), keep=(None,))
    with pytest.raises(UsageError, match="row 1 has position 69, and the model 0 to 63"):
        encoded_rows(gpt2, long, "right")
    with pytest.raises(UsageError, match="row 1 has position -1"):
        encoded_rows(gpt2, replace(long, position_ids=((-1,) * 70,)), "right")
    packed = encoded_rows(gpt2, replace(long, position_ids=(tuple(range(35)) * 2,)), "right")
    assert packed.inputs["input_ids"].shape == (1, 70)


def test_a_decoder_of_its_own_needs_its_rows_and_its_start_token_is_no_padding() -> None:
    t5 = loaded_tiny("t5")
    with pytest.raises(UsageError, match="decoder_input_ids"):
        encoded_rows(t5, rows(), "right")
    given = rows(decoder_ids=((0, 5, 0), (0, 6, 7)), decoder_keep=(None, None))
    encoded = encoded_rows(t5, given, "right")
    assert "decoder_attention_mask" not in encoded.inputs
    assert encoded.batch.decoder is not None
    assert encoded.batch.decoder.keep.tolist() == [[True, True, False], [True, True, True]]


@pytest.mark.parametrize(
    ("ids", "keep"),
    [((0, 0, 0, 5, 6), [False, False, True, True, True]), ((1, 0, 5, 0, 0), [True, True, True, False, False])],
)
def test_of_padding_before_a_decoders_text_the_last_may_be_its_start(ids: tuple[int, ...], keep: list[bool]) -> None:
    given = rows(decoder_ids=(ids, (0, 5, 6, 7, 8)), decoder_keep=(None, None))
    decoder = encoded_rows(loaded_tiny("t5"), given, "right").batch.decoder
    assert decoder is not None
    assert decoder.keep.tolist() == [keep, [True] * 5]


def test_positions_that_restart_tell_packed_texts_apart() -> None:
    positions = np.array([[0, 1, 2, 0, 1, 0], [0, 0, 0, 1, 2, 3]])
    keep = np.array([[True] * 6, [False, False] + [True] * 4])
    found = documents_of(positions, keep)
    assert found is not None and found.tolist() == [[0, 0, 0, 1, 1, 2], [0] * 6]
    assert documents_of(positions[1:], keep[1:]) is None


def test_padding_ids_at_the_ends_of_a_row_are_padding_and_a_row_of_nothing_else_has_none() -> None:
    given = rows(ids=((0, 5, 0, 6, 0, 0), (0,) * 6), keep=(None, None))
    assert [given.ends(row) for row in range(2)] == [[True, False, False, False, True, True], [False] * 6]


@pytest.mark.parametrize("meaning", [{"eos_id": 0}, {"first_id": 0, "eos_id": 2}])
def test_a_single_id_at_an_end_that_begins_or_ends_texts_is_none(meaning: dict[str, Any]) -> None:
    given = rows(ids=((0, 5, 6, 0), (5, 6, 0, 0)), keep=(None, None), **meaning)
    assert [given.ends(row) for row in range(2)] == [[False] * 4, [False, False, True, True]]


def test_a_part_of_another_length_is_left_out_and_said_to_be(gpt2: Loaded) -> None:
    mask = encoded_rows(gpt2, rows(keep=((1, 1), (1, 1, 1))), "right")
    assert mask.inputs["attention_mask"].tolist() == [[1, 1, 1], [1, 1, 1]]
    assert "text 1 was run without its attention_mask, which does not fit" in mask.notes
    positions = encoded_rows(gpt2, rows(position_ids=((0, 1, 2, 3), (0, 1, 2))), "right")
    assert "position_ids" not in positions.inputs
    assert "the batch was run without its position_ids, which do not fit" in positions.notes


def test_texts_become_the_batch_that_is_asked_about(gpt2: Loaded) -> None:
    encoded = encode(gpt2, Request(ids=((5, 6), (7, 8, 9)), padding_side="left"))
    given = given_of(gpt2, encoded)
    assert given.ids == ((0, 5, 6), (7, 8, 9))
    assert given.keep == ((0, 1, 1), (1, 1, 1))
    assert (given.pad_id, given.eos_id) == (0, 2)
    bare = replace(encoded, inputs={"input_ids": encoded.inputs["input_ids"]})
    assert given_of(gpt2, bare).keep == (None, None)
