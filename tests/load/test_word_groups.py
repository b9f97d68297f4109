"""Words are told by where tokens lie, for WordPiece, byte-level pieces and SentencePiece alike."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.run.grouping import Grouping
from maskviz.core.run.trace import Batch
from maskviz.load.models.model import Loaded, load_config, load_model
from maskviz.load.models.source import resolve
from maskviz.load.texts.encode import encode
from maskviz.load.texts.request import Request
from maskviz.load.texts.word_groups import word_starts, words_of

TEXTS = ("The animal's “café” didn’t cross,  the street!", "你好世界 hello 👩‍👩‍👧 हिन्दी x_y", "カタカナと漢字")
WORDS = (
    ("The", "animal's", "“", "café", "”", "didn’t", "cross", ",", "the", "street", "!"),
    ("你", "好", "世", "界", "hello", "👩‍👩‍👧", "हिन्दी", "x_y"),
    ("カタカナと", "漢", "字"),
)


def loaded_from(name: str) -> Loaded:
    source = resolve(name)
    return load_model(source, load_config(source))


@pytest.fixture(scope="module")
def bert() -> Loaded:
    return loaded_from("demo:bert")


def grouped(loaded: Loaded, request: Request) -> tuple[Batch, Grouping]:
    batch = encode(loaded, request).batch
    return batch, words_of(loaded, request, batch)


def real_names(loaded: Loaded, batch: Batch, words: Grouping, row: int) -> tuple[str, ...]:
    """The names of a row's words, without special tokens and padding."""
    assert loaded.tokenizer is not None
    return tuple(name for name in words.names[row] if name not in loaded.tokenizer.all_special_tokens)


@pytest.mark.parametrize("name", ["demo:bert", "demo:gpt", "demo:t5"])
def test_words_are_those_of_the_text_whatever_the_tokenizer(name: str) -> None:
    loaded = loaded_from(name)
    batch, words = grouped(loaded, Request(TEXTS))
    for row, expected in enumerate(WORDS):
        assert real_names(loaded, batch, words, row) == expected


def test_word_pieces_have_the_same_words(minilm: Path) -> None:
    loaded = loaded_from(str(minilm))
    batch, words = grouped(loaded, Request(TEXTS))
    for row, expected in enumerate(WORDS):
        assert real_names(loaded, batch, words, row) == expected


def test_both_texts_of_a_pair_and_special_tokens_written_out(bert: Loaded) -> None:
    _, words = grouped(bert, Request(("It is [MASK] now",), pairs=("now or",)))
    assert words.names[0] == ("[CLS]", "It", "is", "[MASK]", "now", "[SEP]", "now", "or", "[SEP]")


def test_a_text_that_was_cut_has_the_words_that_are_left(bert: Loaded) -> None:
    _, words = grouped(bert, Request(("The animal crossed the street",), max_length=4))
    assert words.names[0] == ("[CLS]", "The", "animal", "[SEP]")


def test_a_target_stands_behind_the_start_token() -> None:
    loaded = loaded_from("demo:t5")
    _, words = grouped(loaded, Request(("Anna has it",), targets=("it has Anna",)))
    assert words.decoder is not None
    assert words.decoder.names[0] == ("<pad>", "it", "has", "Anna")
    assert grouped(loaded, Request(("Anna has it",)))[1].decoder is not None


def test_ids_have_no_words(bert: Loaded) -> None:
    request = Request(ids=((5, 6, 7),))
    with pytest.raises(UsageError, match="needs texts"):
        words_of(bert, request, encode(bert, request).batch)


def test_tokens_that_are_not_the_texts_own_are_refused(bert: Loaded) -> None:
    batch = encode(bert, Request(("a cat",))).batch
    with pytest.raises(CannotTraceError, match="not those the text has"):
        words_of(bert, Request(("a dog",)), batch)


@given(text=st.text())
def test_every_character_is_in_a_word_that_has_begun(text: str) -> None:
    starts = word_starts(text)
    assert len(starts) == len(text)
    assert all(starts[start] == start <= at for at, start in enumerate(starts))
    assert starts == sorted(starts)


@given(text=st.text())
def test_no_word_crosses_a_space(text: str) -> None:
    starts = word_starts(text)
    assert not any(any(one.isspace() for one in text[start + 1 : at + 1]) for at, start in enumerate(starts))
