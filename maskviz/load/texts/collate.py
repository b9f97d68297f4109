"""Texts as a collator of transformers leaves them for the training of a masked language model."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from transformers import DataCollatorForLanguageModeling
from transformers.tokenization_utils_base import PreTrainedTokenizerBase

from maskviz.core.arrays import AnyArray
from maskviz.core.errors import CannotTraceError, NotFoundError, UsageError
from maskviz.core.results.mlm import Masked, Recipe
from maskviz.core.run.trace import Batch
from maskviz.core.writing import parameter
from maskviz.load.models.model import load_tokenizer
from maskviz.load.models.source import Source
from maskviz.load.texts.encode import token_labels, token_roles

_KEYS = ("input_ids", "attention_mask", "special_tokens_mask", "offset_mapping")


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """Texts ready to be masked.

    Attributes:
        tokenizer: Their tokenizer, which has a mask token.
        batch: The texts, padded.
        special: bool [batch, token], the tokenizer's special tokens, padding among them.
        examples: The rows as the collator takes them.
        probability: Share of tokens that is selected.
        whole_words: Whether words are selected whole.
    """

    tokenizer: PreTrainedTokenizerBase
    batch: Batch
    special: AnyArray
    examples: tuple[dict[str, Any], ...]
    probability: float
    whole_words: bool


def training_tokenizer(source: Source) -> PreTrainedTokenizerBase:
    """The tokenizer of a model, which has to have a mask token.

    Raises:
        NotFoundError: there is no tokenizer that can be used.
        CannotTraceError: it has no mask token.
    """
    tokenizer, problem = load_tokenizer(source)
    if tokenizer is None:
        raise NotFoundError(f"no tokenizer in {source.name!r}: {problem}", "give a hub id or a folder that has one")
    if tokenizer.mask_token_id is None:
        raise CannotTraceError(
            f"the tokenizer of {source.name!r} has no mask token, so nothing is masked in its training",
            "take a masked language model, such as demo:bert",
        )
    return tokenizer


def training_batch(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    probability: float,
    whole_words: bool,
    max_length: int | None = None,
) -> Training:
    """Tokenize and pad texts, marking special tokens as `run_mlm.py` of transformers does.

    Raises:
        UsageError: a text has no tokens, or `max_length` leaves none.
        CannotTraceError: texts of different lengths without a padding token; words with a tokenizer that does not tell
            where its tokens lie.
    """
    if whole_words and not tokenizer.is_fast:
        raise CannotTraceError(
            "whole words need a tokenizer that tells where its tokens lie",
            f"leave out {parameter('whole_word')}, or take a fast one",
        )
    options: dict[str, Any] = {"return_special_tokens_mask": True, "return_offsets_mapping": bool(whole_words)}
    if max_length is not None:
        options |= {"truncation": True, "max_length": max_length}
    no_room = UsageError(f"{parameter('max_length', max_length)} leaves no room for the text", "give a larger one")
    try:
        encoded = tokenizer(list(texts), padding=tokenizer.pad_token_id is not None, **options)
    except Exception as error:  # the tokenizers' library raises kinds of its own where nothing would be left
        if max_length is None:
            raise
        raise no_room from error
    rows = encoded["input_ids"]
    if max_length is not None and len(rows[0]) > max_length:
        raise no_room
    if not all(rows):
        raise UsageError("a text has no tokens", "give at least one word")
    if len({len(row) for row in rows}) > 1:
        raise CannotTraceError("the tokenizer has no padding token, and the texts differ in length", "give one text")
    ids, keep = np.array(rows, np.int64), np.array(encoded["attention_mask"], np.bool_)
    roles = token_roles(tokenizer, ids, keep)
    batch = Batch(ids, keep, token_labels(tokenizer, ids, keep), roles, tuple(texts))
    special = np.array(encoded["special_tokens_mask"], np.bool_)
    examples = tuple({key: encoded[key][row] for key in _KEYS if key in encoded} for row in range(len(rows)))
    return Training(tokenizer, batch, special, examples, probability, whole_words)


def collated(training: Training, seed: int) -> Masked:
    """What the collator of transformers makes of a batch with a seed."""
    collator = _collator(training, seed)
    # The first call would do this, were it not that transformers 5.0 takes seed 0 for none.
    collator.generator = collator.get_generator(seed)
    made = collator([dict(example) for example in training.examples])
    inputs, labels = (made[name].numpy() for name in ("input_ids", "labels"))
    names = token_labels(training.tokenizer, inputs, training.batch.keep)
    mask_id = int(training.tokenizer.mask_token_id)
    return Masked(training.batch, training.special, inputs, labels, names, mask_id, seed)


def recipe_of(training: Training) -> Recipe:
    """The shares the collator draws with: those of the collator itself, which masks whole words only."""
    collator = _collator(training, 0)
    return Recipe(
        float(collator.mlm_probability or 0),
        collator.mask_replace_prob,
        collator.random_replace_prob,
        training.whole_words,
    )


def _collator(training: Training, seed: int) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that words are masked whole and never replaced is said on the page
        return DataCollatorForLanguageModeling(
            training.tokenizer,
            mlm_probability=training.probability,
            whole_word_mask=training.whole_words,
            seed=seed,
        )


def mlm_notes(training: Training, seed: int) -> tuple[str, ...]:
    """What a reader must know of how tokens are drawn here, a sentence each."""
    notes = []
    if training.whole_words:
        notes.append(
            "a word goes on until a gap in the text, its punctuation included; the collator masks whole words only "
            "and neither replaces nor keeps them"
        )
        notes += [
            f"text {row + 1} has {len(text.split())} words and the collator finds {count}: tokens of this tokenizer "
            "include the space before them, which leaves no gap between words"
            for row, text in enumerate(training.batch.texts)
            if (count := _words_found(training.examples[row])) < len(text.split())
        ]
    if seed == 0 and not _seeded_by(training, 0):
        notes.append("this release of transformers takes seed 0 for no seed; here the collator is seeded with it")
    return tuple(notes)


def _words_found(example: dict[str, Any]) -> int:
    """Words of a row as the collator tells them apart: one begins behind a gap in the text or a special token."""
    found, end = 0, None
    for (start, stop), special in zip(example["offset_mapping"], example["special_tokens_mask"], strict=True):
        found += not special and start != end
        end = None if special else stop
    return found


def _seeded_by(training: Training, seed: int) -> bool:
    """Whether the collator itself draws from a seed."""
    collator = _collator(training, seed)
    collator([dict(example) for example in training.examples])
    return collator.generator is not None
