"""Random tokens said twice: what induction and previous-token heads are measured on (Olsson et al. 2022)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from maskviz.core.arrays import BoolArray, IntArray
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.words import HeadStatistic
from maskviz.core.writing import parameter, plural
from maskviz.load.models.model import Loaded
from maskviz.load.texts.request import Request

# What a probe tells. Its repeats all lie at one distance, so that no offset or distance says anything of a head.
PROBED = (
    HeadStatistic.ENTROPY,
    HeadStatistic.SINK,
    HeadStatistic.PREVIOUS,
    HeadStatistic.DUPLICATE,
    HeadStatistic.INDUCTION,
)


@dataclass(frozen=True, slots=True, eq=False)
class Probe:
    """Rows of random tokens, each said twice, between what the tokenizer puts around a text.

    Attributes:
        ids: int64 [row, token].
        counted: bool [row, token], the second saying.
        words: What was done, a sentence.
        decoder: Whether the same rows are the decoder's, too.
    """

    ids: IntArray
    counted: BoolArray
    words: str
    decoder: bool

    def request(self, base: Request) -> Request:
        """The request for these rows, otherwise as `base`."""
        rows = tuple(tuple(row) for row in self.ids.tolist())
        return replace(base, ids=rows, target_ids=rows if self.decoder else ())


def probe_of(loaded: Loaded, length: int, rows: int, seed: int) -> Probe:
    """Draw `rows` different rows of `length` tokens for a model, said twice; row r is drawn from seed + r.

    Tokens are the model's own without special ones, none twice in a saying.

    Raises:
        UsageError: there are fewer tokens than that.
        CannotTraceError: the model has positions for fewer.
    """
    before, after = _around(loaded.tokenizer)
    tokens = _ordinary(loaded)
    if length > len(tokens):
        raise UsageError(
            f"{parameter('probe_length', length)} is more than the {len(tokens)} ordinary tokens", "give a smaller one"
        )
    limit = loaded.card.positions
    if limit is not None and 2 * length + len(before) + len(after) > limit:
        most = (limit - len(before) - len(after)) // 2
        raise CannotTraceError(
            f"{parameter('probe_length', length)} is said twice, "
            f"and {loaded.card.name!r} has positions for {limit} tokens",
            f"give at most {most}",
        )
    said = [np.random.default_rng(seed + row).permutation(tokens)[:length].tolist() for row in range(rows)]
    ids = np.array([[*before, *one, *one, *after] for one in said], dtype=np.int64)
    counted = np.zeros(ids.shape, np.bool_)
    counted[:, len(before) + length : len(before) + 2 * length] = True
    last = seed + rows - 1
    words = (
        f"{plural(rows, 'row')} of {length} random tokens said twice (seed{'s' if rows > 1 else ''} "
        f"{seed if rows == 1 else f'{seed} to {last}'}); the queries are those of the second saying."
    )
    return Probe(ids, counted, words, loaded.card.encoder_decoder)


def _around(tokenizer: Any) -> tuple[list[int], list[int]]:
    """The special tokens a tokenizer puts before and after a text."""
    if tokenizer is None:
        return [], []
    special = set(tokenizer.all_special_ids)
    bare, full = (list(tokenizer("a", add_special_tokens=add)["input_ids"]) for add in (False, True))
    start = next((place for place in range(len(full)) if full[place : place + len(bare)] == bare), None)
    if start is None:
        return [], []
    before, after = full[:start], full[start + len(bare) :]
    return [one for one in before if one in special], [one for one in after if one in special]


def _ordinary(loaded: Loaded) -> IntArray:
    """The ids of a model's vocabulary that are no special tokens, ascending."""
    config, tokenizer = loaded.model.config, loaded.tokenizer
    size = loaded.card.vocabulary or (0 if tokenizer is None else len(tokenizer))
    special = {getattr(config, name, None) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    if tokenizer is not None:
        size = min(size, len(tokenizer))
        special |= set(tokenizer.all_special_ids) | set(getattr(tokenizer, "added_tokens_decoder", {}))
    return np.array([one for one in range(size) if one not in special], dtype=np.int64)
