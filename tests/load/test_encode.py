"""Texts become padded batches, and labels people can read."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maskviz.core.errors import CannotTraceError, NotFoundError, UsageError
from maskviz.core.words import Role
from maskviz.load.models.card import card_of
from maskviz.load.models.model import Loaded, load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import Encoded, Request, encode, padded, token_labels
from maskviz.tracing.run import run
from tests.tracing.conftest import loaded_tiny


def loaded(name: str) -> Loaded:
    source = resolve(name)
    return load_model(source, load_config(source), device="cpu")


@pytest.fixture(scope="module")
def bert() -> Loaded:
    return loaded("demo:bert")


@pytest.fixture(scope="module")
def gpt() -> Loaded:
    return loaded("demo:gpt")


@pytest.fixture(scope="module")
def t5() -> Loaded:
    return loaded("demo:t5")


def test_rows_are_padded_on_the_tokenizers_side(bert: Loaded, gpt: Loaded) -> None:
    texts = ("The cat.", "The dog sees the cat in the house.")
    right, left = encode(bert, Request(texts)).batch, encode(gpt, Request(texts)).batch
    assert right.keep[0].tolist() == sorted(right.keep[0].tolist(), reverse=True)
    assert left.keep[0].tolist() == sorted(left.keep[0].tolist())
    assert right.keep[1].all()
    assert left.keep[1].all()


def test_the_side_can_be_chosen(bert: Loaded) -> None:
    batch = encode(bert, Request(("a", "a b c"), padding_side="left")).batch
    assert not batch.keep[0, 0]
    assert batch.roles[0][0] is Role.PADDING


def test_encoding_is_the_tokenizers_own(bert: Loaded) -> None:
    assert bert.tokenizer is not None
    texts = ("The cat sat.", "It was tired because it ran.")
    own = bert.tokenizer(list(texts), padding=True, return_tensors="np")
    encoded = encode(bert, Request(texts))
    assert np.array_equal(encoded.batch.ids, own["input_ids"])
    assert np.array_equal(encoded.batch.keep, own["attention_mask"].astype(bool))
    assert {name: value.tolist() for name, value in encoded.inputs.items()} == {
        name: value.tolist() for name, value in own.items()
    }


def test_pairs_have_segments(bert: Loaded) -> None:
    batch = encode(bert, Request(("who?",), pairs=("the cat",))).batch
    assert batch.token_types is not None
    assert set(batch.token_types[0].tolist()) == {0, 1}
    assert batch.texts == ("who? | the cat",)


def test_token_types_of_the_users_own_take_the_place_of_the_tokenizers(bert: Loaded) -> None:
    encoded = encode(bert, Request(ids=((5, 6, 7, 8), (9, 10, 11)), token_types=((0, 0, 1, 1), (1, 1, 1))))
    assert encoded.inputs["token_type_ids"].tolist() == [[0, 0, 1, 1], [1, 1, 1, 0]]
    packed = encode(loaded_tiny("gpt2"), Request(ids=((5, 6), (7,)), token_types=((3, 4), (5,)), packed=True))
    assert packed.inputs["token_type_ids"].tolist() == [[3, 4, 5]]


def test_roles_tell_special_mask_and_padding_apart(bert: Loaded) -> None:
    batch = encode(bert, Request(("The [MASK].", "The cat sat on it."))).batch
    roles = dict(zip(batch.tokens[0], batch.roles[0], strict=True))
    assert roles["[CLS]"] is Role.SPECIAL
    assert roles["[MASK]"] is Role.MASK
    assert roles["[PAD]"] is Role.PADDING


def test_a_cut_is_the_tokenizers_own_and_is_said(bert: Loaded) -> None:
    encoded = encode(bert, Request(("one two three four five",), max_length=4))
    assert encoded.batch.tokens[0][0] == "[CLS]"
    assert encoded.batch.tokens[0][-1] == "[SEP]"
    assert encoded.batch.length == 4
    assert any("cut from" in note and "to 4 tokens" in note for note in encoded.notes)
    assert encode(bert, Request(ids=((1, 2, 3),), max_length=2)).batch.ids.tolist() == [[1, 2]]
    assert not encode(bert, Request(("one",), max_length=40)).notes


def test_lengths_that_leave_no_room_are_refused(bert: Loaded) -> None:
    with pytest.raises(UsageError, match="leaves no room"):
        encode(bert, Request(("one two three",), max_length=1))
    with pytest.raises(UsageError, match="pad_to=2 is less than the"):
        encode(bert, Request(("one two three",), pad_to=2))


def test_rows_can_be_padded_to_a_length(bert: Loaded) -> None:
    assert encode(bert, Request(("a",), pad_to=12)).batch.ids.shape == (1, 12)


def test_more_tokens_than_positions_are_refused(bert: Loaded) -> None:
    with pytest.raises(CannotTraceError, match="has positions for") as caught:
        encode(bert, Request(("word " * 5000,)))
    assert caught.value.hint is not None
    assert "max_length=" in caught.value.hint


def test_cumulative_positions_count_real_tokens(gpt: Loaded) -> None:
    encoded = encode(gpt, Request(("The cat.", "The dog sees the cat."), cumulative_positions=True))
    assert encoded.batch.position_ids is not None
    keep, positions = encoded.batch.keep[0], encoded.batch.position_ids[0]
    assert positions[keep].tolist() == list(range(keep.sum()))
    assert "position_ids" in encoded.inputs


def test_the_decoder_reads_the_target_shifted_behind_its_start_token(t5: Loaded) -> None:
    assert t5.tokenizer is not None
    encoded = encode(t5, Request(("The cat sat.", "A dog."), targets=("cat", "dog dog")))
    decoder = encoded.batch.decoder
    assert decoder is not None
    start = t5.model.config.decoder_start_token_id
    assert decoder.ids[:, 0].tolist() == [start, start]
    own = t5.tokenizer(text_target="dog dog")["input_ids"]
    assert decoder.ids[1, 1:].tolist() == own[:-1]
    assert decoder.keep[1].all()
    assert not decoder.keep[0].all()


def test_without_a_target_the_decoder_is_shown_its_start_token(t5: Loaded) -> None:
    encoded = encode(t5, Request(("The cat sat.",)))
    assert encoded.batch.decoder is not None
    assert encoded.batch.decoder.length == 1
    assert any("target=" in note for note in encoded.notes)


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request(), "there is no text"),
        (Request(("a",), ids=((1,),)), "given together"),
        (Request(("a", "  ")), "text 2 is empty"),
        (Request(("a", "b"), pairs=("c",)), "there are 1 pair= and 2 texts"),
        (Request(ids=((1, 2), ())), "a row of ids is empty"),
        (Request(ids=((10**9,),)), "id 1000000000 is not in the vocabulary"),
        (Request(ids=((-1,),)), "id -1 is not in the vocabulary"),
        (Request(("a",), targets=("b",)), "has no decoder"),
        (Request(("bad \udce4",)), "not valid UTF-8"),
        (Request(ids=((1,),), pairs=("a",)), "pair= and ids="),
        (Request(("a",), targets=("b",), target_ids=((1,),)), "target= and target_ids="),
        (Request(("a",), token_types=((0, 0), (1, 1))), "there are 2 token_types= and 1 texts"),
        (Request(("a",), token_types=((0, 0),)), "row 1 of token_types= has 2 numbers and text 1 has 3 tokens"),
        (Request(("a",), token_types=((0, -1, 0),)), "token type -1 is negative"),
        (Request(("a",), cumulative_positions=True), "takes no positions"),
    ],
)
def test_what_does_not_go_together_is_said(bert: Loaded, request_: Request, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        encode(bert, request_)


def test_a_model_without_token_types_is_not_given_any() -> None:
    with pytest.raises(UsageError, match="LlamaForCausalLM takes no token types"):
        encode(loaded_tiny("llama"), Request(ids=((5, 6),), token_types=((0, 1),)))


def test_texts_without_a_tokenizer_are_refused_and_ids_are_not() -> None:
    tiny = loaded_tiny("llama")
    with pytest.raises(NotFoundError, match="without a usable tokenizer"):
        encode(tiny, Request(("text",)))
    batch = encode(tiny, Request(ids=((5, 6), (7,)))).batch
    assert batch.tokens == (("5", "6"), ("7", "0"))


def test_byte_level_pieces_are_text(gpt: Loaded) -> None:
    tokens = encode(gpt, Request(("The cat sat",))).batch.tokens[0]
    assert tokens[1].startswith(" ")
    assert "Ġ" not in "".join(tokens)


def test_bytes_that_are_no_character_are_escaped(gpt: Loaded) -> None:
    tokens = encode(gpt, Request(("龘",))).batch.tokens[0]
    assert "".join(tokens).strip() in {"龘", "\\xe9\\xbe\\x98"}


@settings(deadline=None, max_examples=50)
@given(text=st.text(min_size=1).filter(str.strip))
def test_any_text_encodes_and_its_labels_are_printable(gpt: Loaded, text: str) -> None:
    try:
        encoded: Encoded = encode(gpt, Request((text,), max_length=64))
    except UsageError as error:
        assert "not valid UTF-8" in error.message
        return
    for token in encoded.batch.tokens[0]:
        assert "\x1b" not in token
        assert "\n" not in token


def test_word_pieces_and_sentence_pieces_are_readable(minilm: Path) -> None:
    model = loaded(str(minilm))
    assert encode(model, Request(("tokenization",))).batch.tokens[0] == ("[CLS]", "token", "##ization", "[SEP]")


@given(
    st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=4),
    st.sampled_from(["left", "right"]),
)
def test_padding_keeps_every_row(rows: list[list[int]], side: str) -> None:
    ids, keep = padded(rows, 0, side)
    assert [row[kept].tolist() for row, kept in zip(ids, keep, strict=True)] == rows
    assert ids.shape[1] == max(map(len, rows))
    assert (ids[~keep] == 0).all()


def test_ids_are_shown_where_there_is_no_tokenizer() -> None:
    assert token_labels(None, np.array([[3, 14]])) == (("3", "14"),)


def test_raw_ids_are_padded_with_the_configs_id_as_roberta_needs() -> None:
    roberta = loaded_tiny("roberta")
    roberta.model.config.pad_token_id = 1
    assert encode(roberta, Request(ids=((5, 6), (7,)))).batch.ids.tolist() == [[5, 6], [7, 1]]
    roberta.model.config.pad_token_id = 5000
    assert encode(roberta, Request(ids=((5, 6), (7,)))).batch.ids.tolist() == [[5, 6], [7, 0]]


def test_padding_without_a_token_of_its_own_is_not_shown_as_a_word(gpt: Loaded) -> None:
    tokenizer = copy.deepcopy(gpt.tokenizer)
    assert tokenizer is not None
    tokenizer.pad_token = None
    batch = encode(replace(gpt, tokenizer=tokenizer), Request(("The cat.", "A dog ran home."))).batch
    assert batch.tokens[0][0] == "[pad]"


def test_an_encoder_decoder_classifier_shifts_its_own_ids() -> None:
    from transformers import BartForSequenceClassification

    config: Any = loaded_tiny("bart").model.config
    model = BartForSequenceClassification(config).eval()
    loaded = Loaded(model, None, card_of(config, "tiny", "BartForSequenceClassification"))
    encoded = encode(loaded, Request(ids=((5, 6, 2),)))
    assert set(encoded.inputs) == {"input_ids", "attention_mask"}
    assert encoded.batch.decoder is not None
    assert encoded.batch.decoder.ids.tolist() == [[2, 5, 6]]
    trace = run(model, encoded.inputs, encoded.batch, loaded.card)
    assert {call.stack.value for call in trace.calls} == {"encoder", "decoder", "cross"}
