"""Rules about what a batch holds beside its masks and labels: ids, and parts that somebody means to be read."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from maskviz.analyse.lints.found import found
from maskviz.core.checks.behaviour import ModelFacts
from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Finding
from maskviz.core.checks.given_batch import GivenBatch, Row
from maskviz.core.checks.lint import Lint, Need

# What tokenizers and data sets leave in rows for others than the model, and what transformers hands on to its layers.
_OF_OTHERS = (
    "special_tokens_mask",
    "offset_mapping",
    "length",
    "overflow_to_sample_mapping",
    "word_ids",
    "seq_lengths",
)
_HANDED_ON = ("cu_seq_lens_q", "cu_seq_lens_k", "max_length_q", "max_length_k", "seq_idx")
_ASSISTANT = ("assistant_masks", "assistant_mask")


def unread_part(case: Case) -> Iterator[Finding]:
    """B5: parts with a number for each token that the model's forward does not take."""
    batch, model = case.batch, case.model
    if batch is None or model is None or not model.reads:
        return
    for name in _unread(batch, model):
        near = difflib.get_close_matches(name, model.reads, 1, 0.6)
        nearest = f"; the nearest that is read is {near[0]}" if near else ""
        cure = f"Call it {near[0]}." if near else "Leave it out, or hand it to what reads it."
        if name in _ASSISTANT:
            cure = "Make labels of it, -100 where it is 0: the model never reads it."
            nearest = ""
        message = f"{model.architecture} takes no {name!r}{nearest}"
        yield found("B5", batch.name or "the batch", message, cure=cure)


def _unread(batch: GivenBatch, model: ModelFacts) -> Iterator[str]:
    parts = {
        "token_type_ids": batch.token_types,
        "position_ids": batch.position_ids,
        "attention_mask": batch.keep,
        "decoder_attention_mask": batch.decoder_keep,
    }
    given = [name for name, rows in parts.items() if any(row is not None for row in rows)]
    trained = any(row is not None for row in batch.labels)
    made = [name for name in _ASSISTANT if any(batch.assistant) and name in batch.others and not trained]
    others = [name for name in batch.others if name not in (*_OF_OTHERS, *_HANDED_ON, *_ASSISTANT)]
    for name in (*given, *others, *made):
        if name not in model.reads:
            yield name


def booleans(case: Case) -> Iterator[Finding]:
    """B6: true and false as ids, labels or positions."""
    if case.batch is not None:
        for name in case.batch.booleans:
            yield found("B6", case.batch.name or "the batch", f"{name} are true and false")


def first_token_twice(case: Case) -> Iterator[Finding]:
    """B7: the token that begins a text stands twice at its start."""
    batch = case.batch
    if batch is None or batch.first_id is None:
        return
    for row, ids in enumerate(batch.ids):
        start = _start(ids, batch.keep[row], batch.pad_id)
        if ids[start : start + 2] == (batch.first_id, batch.first_id) and batch.first_id != batch.pad_id:
            yield found("B7", _text(row), f"it begins with id {batch.first_id} twice, at token {start}", row=row)


def _start(ids: Row, keep: Row | None, pad: int | None) -> int:
    """The first token that is no padding."""
    for place, token in enumerate(ids):
        if keep[place] if keep is not None and len(keep) == len(ids) else token != pad:
            return place
    return 0


def _text(row: int) -> str:
    return f"text {row + 1}"


LINTS: tuple[Lint, ...] = (
    Lint("B5", unread_part, (Need.BATCH, Need.MODEL)),
    Lint("B6", booleans, (Need.BATCH,)),
    Lint("B7", first_token_twice, (Need.BATCH,)),
)
