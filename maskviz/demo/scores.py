"""What the demo models have learned, measured on text and on random tokens they were not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Generator, Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from maskviz.demo.batches import Batch


@dataclass(frozen=True, slots=True, eq=False)
class HeadScores:
    """How far each head is a previous-token head and an induction head, both `[layer, head]` in 0..1.

    Attributes:
        previous: Mean attention from a token to the token before it.
        induction: Mean attention from a repeated token to the token after its earlier occurrence.
    """

    previous: Tensor
    induction: Tensor


@torch.no_grad()
def score_heads(model: PreTrainedModel, seed: int, rows: int = 16, period: int = 32) -> HeadScores:
    """Score every head of a causal model on `rows` random phrases of `period` tokens, each said twice.

    The model must have been loaded with `attn_implementation="eager"`, which is the one that returns maps.
    """
    dice = Generator().manual_seed(seed)
    phrase = torch.randint(2, model.config.vocab_size, (rows, period), generator=dice)
    maps = model(phrase.repeat(1, 2), output_attentions=True).attentions
    pattern = torch.stack(maps)  # [layer, row, head, query, key]
    previous = pattern.diagonal(offset=-1, dim1=-2, dim2=-1)
    # Query i in the second saying, key i - period + 1: the diagonal that lies period - 1 below the main one,
    # without its first element, whose query is still in the first saying.
    induction = pattern.diagonal(offset=1 - period, dim1=-2, dim2=-1)[..., 1:]
    return HeadScores(previous.mean(dim=(1, 3)), induction.mean(dim=(1, 3)))


@torch.no_grad()
def mean_loss(model: PreTrainedModel, batches: Iterator[Batch], count: int = 20) -> float:
    """Mean cross-entropy of a model over `count` batches, in nats per token that has a label."""
    return float(torch.stack([model(**batch).loss for batch in islice(batches, count)]).mean())


@torch.no_grad()
def share_reversed(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, lines: Sequence[str]) -> float:
    """Share of lines, in 0..1, that an encoder-decoder says backwards without a fault."""
    encoded = tokenizer(list(lines), padding=True, return_tensors="pt")
    longest = encoded["input_ids"].shape[1] + 4
    # transformers says of no class that it can generate
    answers: Tensor = model.generate(**encoded, max_new_tokens=longest)  # type: ignore[operator]
    said = tokenizer.batch_decode(answers, skip_special_tokens=True)
    right = [answer.split() == line.split()[::-1] for answer, line in zip(said, lines, strict=True)]
    return sum(right) / len(right)


def head_table(scores: Tensor) -> str:
    """Scores `[layer, head]` as lines of text, one line a layer."""
    return "\n".join(
        f"  layer {layer}: " + "  ".join(f"{float(score):.2f}" for score in row) for layer, row in enumerate(scores)
    )
