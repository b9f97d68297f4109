"""Which tokens of a batch form a word: told by where they lie in the text, not by what they look like.

A tokenizer's own word numbers differ: those of WordPiece part "don't" into three words, those of byte-level pieces
leave a Chinese sentence whole, and SentencePiece may know no words at all. Here a word is a run of letters, marks and
digits with the apostrophes inside it, a Chinese character, or any other sign; a token belongs to the word of the first
character in it that is no space, so that pieces which include the space before a word lie in that word.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.run.grouping import Grouping
from maskviz.core.run.trace import Batch
from maskviz.core.words import Role
from maskviz.core.writing import parameter, printable
from maskviz.load.models.model import Loaded
from maskviz.load.texts.request import Request

# A token's place: the text it is of (0, or 1 for a pair), and its first and last character there; None for others.
_Place = tuple[int, int, int] | None

_JOINED = "\u200c\u200d"
_APOSTROPHES = "'\u2019"


def words_of(loaded: Loaded, request: Request, batch: Batch) -> Grouping:
    """The words of a batch that was encoded from a request's texts.

    Raises:
        UsageError: the tokens are not of texts.
        CannotTraceError: the tokenizer does not tell where its tokens lie.
    """
    tokenizer = loaded.tokenizer
    if request.ids or tokenizer is None:
        raise UsageError(
            f"{parameter('words')} needs texts: ids do not tell where a word begins", "give the text itself"
        )
    if not tokenizer.is_fast:
        raise CannotTraceError(
            "the tokenizer does not tell where its tokens lie in the text", f"leave out {parameter('words')}"
        )
    cut = {} if request.max_length is None else {"truncation": True, "max_length": request.max_length}
    pairs = request.pairs or (None,) * len(request.texts)
    rows = [
        _places(tokenizer(*texts, return_offsets_mapping=True, **cut))
        for texts in zip(request.texts, pairs, strict=True)
    ]
    texts = [(text, pair or "") for text, pair in zip(request.texts, pairs, strict=True)]
    decoder = None
    if batch.decoder is not None:
        decoder = _grouping(batch.decoder, *_of_targets(tokenizer, request, batch))
    found = _grouping(batch, rows, texts)
    return Grouping(found.groups, found.names, decoder)


def _of_targets(
    tokenizer: Any, request: Request, batch: Batch
) -> tuple[list[list[tuple[int, _Place]]], list[tuple[str, str]]]:
    """Ids and places of the decoder's tokens, behind the start token, and their texts."""
    assert batch.decoder is not None
    start = [(int(one), None) for one in batch.decoder.ids[:, 0]]
    if not request.targets:
        return [[one] for one in start], [("", "")] * batch.rows
    each = [_places(tokenizer(text_target=target, return_offsets_mapping=True)) for target in request.targets]
    rows = [[first, *one][: max(1, len(one))] for first, one in zip(start, each, strict=True)]
    return rows, [(target, "") for target in request.targets]


def _places(encoding: Any) -> list[tuple[int, _Place]]:
    """Each token's id and place."""
    return [
        (token, None if part is None else (part, *span))
        for token, part, span in zip(
            encoding["input_ids"], encoding.sequence_ids(0), encoding["offset_mapping"], strict=True
        )
    ]


def _grouping(batch: Batch, rows: Sequence[Sequence[tuple[int, _Place]]], texts: Sequence[tuple[str, str]]) -> Grouping:
    groups, names = np.zeros(batch.ids.shape, np.int64), []
    for row, places in enumerate(rows):
        kept = np.flatnonzero(batch.keep[row])
        if batch.ids[row, kept].tolist() != [token for token, _ in places]:
            raise CannotTraceError(
                "the tokens are not those the text has on its own", f"leave out {parameter('words')}"
            )
        labels = [batch.tokens[row][place] for place in kept]
        special = [None if batch.roles[row][place] is Role.TEXT else batch.tokens[row][place] for place in kept]
        numbers, words = grouped([place for _, place in places], texts[row], labels, special)
        padding = np.flatnonzero(~batch.keep[row])
        groups[row, kept] = numbers
        groups[row, padding] = len(words)
        names.append((*words, *(batch.tokens[row][place] for place in padding[:1])))
    return Grouping(groups, tuple(names))


def grouped(
    places: Sequence[_Place], texts: tuple[str, str], labels: Sequence[str], special: Sequence[str | None]
) -> tuple[list[int], list[str]]:
    """The number of each token's word, and the names of the words.

    Args:
        places: Where the tokens lie.
        texts: The text, and the second of a pair or "".
        labels: Printable tokens, the names of tokens that lie in no text.
        special: The same for special and mask tokens, None for others: written out in a text they are no words.
    """
    starts = [word_starts(text) for text in texts]
    words = [_word_of(place, texts, starts, name) for place, name in zip(places, special, strict=True)]
    for index in range(len(words) - 2, -1, -1):  # a token that is a space alone belongs to the word behind it
        if words[index] == _SPACE and isinstance(words[index + 1], tuple) and words[index + 1] != _SPACE:
            words[index] = words[index + 1]
    numbers: list[int] = []
    names: list[str] = []
    before: tuple[int, int] | None = None
    for word, label in zip(words, labels, strict=True):
        if word is None or word == _SPACE or word != before:
            names.append(label if word is None or word == _SPACE else _name(word, texts, starts))
        numbers.append(len(names) - 1)
        before = word
    return numbers, names


_SPACE = (-1, -1)


def _word_of(
    place: _Place, texts: tuple[str, str], starts: Sequence[Sequence[int]], special: str | None
) -> tuple[int, int] | None:
    """The text a token is of and where its word begins there; `_SPACE` for spaces, None for a special token."""
    if place is None:
        return None
    part, first, last = place
    if texts[part][first:last].strip() == special:
        return None
    inside = next((at for at in range(first, last) if not texts[part][at].isspace()), None)
    return _SPACE if inside is None else (part, starts[part][inside])


def _name(word: tuple[int, int], texts: tuple[str, str], starts: Sequence[Sequence[int]]) -> str:
    part, first = word
    last = first
    while last < len(texts[part]) and starts[part][last] == first:
        last += 1
    return printable(texts[part][first:last])


def word_starts(text: str) -> list[int]:
    """For each character of a text where its word begins; a space is a word of its own."""
    starts: list[int] = []
    for at, character in enumerate(text):
        goes_on = at > 0 and _joins(text, at, character)
        starts.append(starts[-1] if goes_on else at)
    return starts


def _joins(text: str, at: int, character: str) -> bool:
    """Whether a character goes on with the word of the one before."""
    before = text[at - 1]
    if before.isspace() or character.isspace():
        return False
    if character in _JOINED or before in _JOINED or unicodedata.category(character) in ("Mn", "Mc", "Me"):
        return True
    if "\U0001f3fb" <= character <= "\U0001f3ff":  # skin tones
        return True
    if character in _APOSTROPHES:
        return _wordlike(before) and at + 1 < len(text) and _wordlike(text[at + 1])
    if before in _APOSTROPHES:
        return at > 1 and _wordlike(text[at - 2]) and _wordlike(character)
    return _wordlike(before) and _wordlike(character)


def _wordlike(character: str) -> bool:
    """Whether a character is part of a run: letters, marks and digits, but no Chinese characters."""
    return (character == "_" or unicodedata.category(character)[0] in "LMN") and not _ideograph(character)


def _ideograph(character: str) -> bool:
    return unicodedata.name(character, "").startswith("CJK ")
