"""Endless training batches for the three demo models, each a dict of tensors `[row, position]`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from random import Random

import torch
from torch import Generator, Tensor
from transformers import PreTrainedTokenizerFast

from maskviz.demo.corpus import passages
from maskviz.demo.hiding import IGNORED, Hiding
from maskviz.demo.lexicon import EVERYDAY
from maskviz.demo.tokenizing import POSITIONS

Batch = dict[str, Tensor]
Row = dict[str, list[int]]

ROWS = 32
BERT_ROWS = 64
GPT_LENGTH = 128


def batches(
    name: str, tokenizer: PreTrainedTokenizerFast, seed: int, pool: int, hidden: float = 0.2
) -> Iterator[Batch]:
    """Endless batches for one demo model, drawn from `pool` passages of the seed.

    `hidden` is the share of tokens, in 0..1, that bert must guess; the other models take no notice of it.
    """
    if name == "bert":
        return masked_batches(tokenizer, seed, pool, hidden)
    return {"gpt": causal_batches, "t5": reversal_batches}[name](tokenizer, seed, pool)


def random_positions(tokens: Tensor, dice: Generator) -> Tensor:
    """Position ids `[row, position]` that start anywhere, so that late positions are trained as well."""
    rows, length = tokens.shape
    start = torch.randint(0, POSITIONS - length + 1, (rows, 1), generator=dice)
    return start + torch.arange(length)


# --- bert: guess the hidden words ---------------------------------------------------------------------


def masked_batches(tokenizer: PreTrainedTokenizerFast, seed: int, pool: int, hidden: float) -> Iterator[Batch]:
    """Padded batches of single texts and pairs of texts, with some tokens hidden or swapped.

    Every other batch starts at position 0, as a user's text will; the others start anywhere.
    """
    rng, dice = Random(seed), Generator().manual_seed(seed)
    singles, pairs = _singles_and_pairs(seed, pool)
    encoded = _rows(tokenizer(singles)) + _rows(tokenizer(*map(list, zip(*pairs, strict=True))))
    hiding = Hiding(tokenizer, dice, hidden)
    for rows in _similar_lengths(encoded, rng):
        batch: Batch = dict(tokenizer.pad(rows, return_tensors="pt"))
        batch["input_ids"], batch["labels"] = hiding(batch["input_ids"])
        if rng.random() < 0.5:
            batch["position_ids"] = random_positions(batch["input_ids"], dice)
        yield batch


def _similar_lengths(encoded: list[Row], rng: Random) -> Iterator[list[Row]]:
    """Batches of rows, without end; rows of one batch are of similar length, to waste little on padding."""
    while True:
        drawn = sorted(rng.sample(encoded, min(len(encoded), 16 * BERT_ROWS)), key=lambda row: len(row["input_ids"]))
        starts = list(range(0, len(drawn), BERT_ROWS))
        rng.shuffle(starts)
        for start in starts:
            yield drawn[start : start + BERT_ROWS]


def _singles_and_pairs(seed: int, pool: int) -> tuple[list[str], list[tuple[str, str]]]:
    """Texts alone and in pairs.

    Three passages in ten follow another one, and three in ten are cut in two between sentences. One in ten
    is replaced by the same loose words twice, from which a model learns to look a word up.
    """
    rng, source = Random(seed), passages(seed)
    singles: list[str] = []
    pairs: list[tuple[str, str]] = []
    for passage in islice(source, pool):
        if rng.random() < 0.3:
            passage = [*passage, *next(source)]
        if rng.random() < 0.1:
            loose = " ".join(rng.sample(EVERYDAY, rng.randint(4, 12)))
            pairs.append((loose, loose))
        elif len(passage) > 1 and rng.random() < 0.3:
            cut = rng.randrange(1, len(passage))
            pairs.append((" ".join(passage[:cut]), " ".join(passage[cut:])))
        else:
            text = " ".join(passage)
            # A user's text often lacks its full stop.
            singles.append(text.removesuffix(".") if rng.random() < 0.3 else text)
    return singles, pairs


def _rows(encoding: dict[str, list[list[int]]]) -> list[Row]:
    """An encoding of many texts as one dict per text."""
    return [dict(zip(encoding, row, strict=True)) for row in zip(*encoding.values(), strict=True)]


# --- gpt: guess the next word -------------------------------------------------------------------------


def causal_batches(tokenizer: PreTrainedTokenizerFast, seed: int, pool: int) -> Iterator[Batch]:
    """Batches whose first half is English and whose second half is random tokens said again and again."""
    rng, dice = Random(seed), Generator().manual_seed(seed)
    text = text_rows(tokenizer, seed, pool)
    half = ROWS // 2
    while True:
        english = text[torch.randperm(len(text), generator=dice)[:half]]
        noise, noise_labels = repeated_rows(half, GPT_LENGTH, len(tokenizer), rng, dice)
        tokens, labels = torch.cat((english, noise)), torch.cat((english, noise_labels))
        yield {
            "input_ids": tokens,
            "labels": labels,
            "position_ids": random_positions(tokens, dice),
        }


def text_rows(tokenizer: PreTrainedTokenizerFast, seed: int, pool: int) -> Tensor:
    """Passages parted by the end token, cut into rows `[row, GPT_LENGTH]`."""
    texts = [" ".join(passage) for passage in islice(passages(seed), pool)]
    stream = [token for row in tokenizer(texts)["input_ids"] for token in (*row, tokenizer.eos_token_id)]
    count = len(stream) // GPT_LENGTH
    return torch.tensor(stream[: count * GPT_LENGTH]).view(count, GPT_LENGTH)


def repeated_rows(rows: int, length: int, vocabulary: int, rng: Random, dice: Generator) -> tuple[Tensor, Tensor]:
    """Rows of random tokens with a period, `A B C D A B C D`, and labels for what can be foreseen.

    Each row has its own period of 4 to two thirds of the length; short ones are drawn more often, since
    from them the head is learned. The first time round nothing can be foreseen, so its labels are
    `IGNORED`. Tokens 0 and 1 are special and are left out.
    """
    tokens = torch.empty(rows, length, dtype=torch.long)
    labels = torch.full_like(tokens, IGNORED)
    for row in range(rows):
        period = round(math.exp(rng.uniform(math.log(4), math.log(2 * length / 3))))
        phrase = torch.randint(2, vocabulary, (period,), generator=dice)
        tokens[row] = phrase.repeat(length // period + 1)[:length]
        labels[row, period + 1 :] = tokens[row, period + 1 :]
    return tokens, labels


# --- t5: say the words backwards ----------------------------------------------------------------------


def reversal_batches(tokenizer: PreTrainedTokenizerFast, seed: int, pool: int) -> Iterator[Batch]:
    """Padded batches of sentences with the same words backwards as the label."""
    rng = Random(seed)
    sources = lines(seed, pool)
    targets = [backwards(line) for line in sources]
    source_ids, target_ids = tokenizer(sources)["input_ids"], tokenizer(targets)["input_ids"]
    while True:
        chosen = rng.sample(range(len(sources)), ROWS)
        batch: Batch = dict(tokenizer.pad({"input_ids": [source_ids[i] for i in chosen]}, return_tensors="pt"))
        labels = tokenizer.pad({"input_ids": [target_ids[i] for i in chosen]}, return_tensors="pt")
        batch["labels"] = labels["input_ids"].masked_fill(labels["attention_mask"] == 0, IGNORED)
        yield batch


def backwards(line: str) -> str:
    """The words of a line from last to first."""
    return " ".join(reversed(line.split()))


def lines(seed: int, count: int) -> list[str]:
    """Sentences, some without their full stop, and loose words that no grammar could put in order."""
    rng, drawn = Random(seed), []
    for passage in islice(passages(seed), count):
        if rng.random() < 0.4:
            line = " ".join(rng.sample(EVERYDAY, rng.randint(2, 12)))
        else:
            line = " ".join(passage[: rng.choice((1, 1, 2))])
        drawn.append(line if rng.random() < 0.5 else line.removesuffix("."))
    return drawn
