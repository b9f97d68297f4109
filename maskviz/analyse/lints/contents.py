"""Rules about what a batch holds beside its masks: ids, labels, and parts that somebody means to be read."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from maskviz.analyse.lints.kind import Lint, Need, found
from maskviz.core.behaviour import ModelFacts
from maskviz.core.case import Case
from maskviz.core.findings import Finding
from maskviz.core.given_batch import GivenBatch, Row
from maskviz.core.printable import plural

IGNORED = -100
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


def labels_of_other_length(case: Case) -> Iterator[Finding]:
    """B1: labels that are more or fewer than the tokens they are of."""
    batch = case.batch
    if batch is None:
        return
    side, tokens = ("decoder ", batch.decoder_ids) if batch.decoder_ids else ("", batch.ids)
    if not batch.decoder_ids and case.model is not None and "decoder_input_ids" in case.model.reads:
        return  # the decoder's ids are made of the labels
    for row, (ids, labels) in enumerate(zip(tokens, batch.labels, strict=False)):
        if labels is None or len(labels) == len(ids) or (not side and len(ids) - len(labels) == batch.specials):
            continue
        yield found("B1", _text(row), f"{len(ids)} {side}ids and {plural(len(labels), 'label')}", row=row)


def labels_outside(case: Case) -> Iterator[Finding]:
    """B2: labels that are no class, and not the one that is ignored."""
    batch = case.batch
    if batch is None:
        return
    classes = None if case.model is None else case.model.classes
    for row, labels in enumerate(batch.labels):
        wrong = [] if labels is None else [place for place, one in enumerate(labels) if _outside(one, classes)]
        if labels is None or not wrong:
            continue
        first = labels[wrong[0]]
        limit = "" if classes is None or first < 0 else f"; there are {classes:,} classes"
        some = f"{plural(len(wrong), 'label')}, the first {first} at token {wrong[0]}"
        yield found("B2", _text(row), f"{some}{limit}", row=row)


def _outside(label: int, classes: int | None) -> bool:
    return label != IGNORED and (label < 0 or (classes is not None and label >= classes))


def labels_shifted(case: Case) -> Iterator[Finding]:
    """B8: labels that are the next tokens, for a model that looks for the next token's label itself."""
    batch = case.batch
    if batch is None or case.model is None or not case.model.predicts_next:
        return
    for row, (ids, labels) in enumerate(zip(batch.ids, batch.labels, strict=False)):
        if labels is None or len(labels) != len(ids):
            continue
        here = [(one, token) for one, token in zip(labels, ids, strict=True) if one != IGNORED]
        shifted = [(one, token) for one, token in zip(labels, ids[1:], strict=False) if one != IGNORED]
        if len(shifted) > 2 and _alike(shifted) == 1 and _alike(here) < 0.5:
            yield found("B8", _text(row), f"all {len(shifted)} labels are the tokens that come next", row=row)


def _alike(pairs: list[tuple[int, int]]) -> float:
    """Share of pairs whose two are the same."""
    return sum(one == other for one, other in pairs) / len(pairs)


def no_label_left(case: Case) -> Iterator[Finding]:
    """B3: rows of which no token is trained on. A model that predicts the next token never predicts the first."""
    batch = case.batch
    if batch is None:
        return
    first = 1 if case.model is not None and case.model.predicts_next else 0
    for row, labels in enumerate(batch.labels):
        if labels is None or any(label != IGNORED for label in labels[first:]):
            continue
        message = f"all {len(labels)} labels are {IGNORED}"
        if any(label != IGNORED for label in labels):
            message = "its first token alone has a label, and nothing predicts that one"
        kept = batch.assistant[row] if row < len(batch.assistant) else None
        cure = ""
        if kept is not None and not any(kept):
            cure = "The assistant mask keeps no token: see B4; a template with {% generation %} marks makes one."
        yield found("B3", _text(row), message, row=row, cure=cure)


def assistant_mask_empty(case: Case) -> Iterator[Finding]:
    """B4: a mask of what an assistant wrote that is zero everywhere."""
    for row, mask in enumerate(() if case.batch is None else case.batch.assistant):
        if mask is not None and not any(mask):
            yield found("B4", _text(row), f"none of its {len(mask)} entries is 1", row=row)


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
    Lint("B1", labels_of_other_length, (Need.BATCH, Need.LABELS)),
    Lint("B2", labels_outside, (Need.BATCH, Need.LABELS)),
    Lint("B3", no_label_left, (Need.BATCH, Need.LABELS)),
    Lint("B8", labels_shifted, (Need.BATCH, Need.LABELS, Need.MODEL)),
    Lint("B4", assistant_mask_empty, (Need.BATCH,)),
    Lint("B5", unread_part, (Need.BATCH, Need.MODEL)),
    Lint("B6", booleans, (Need.BATCH,)),
    Lint("B7", first_token_twice, (Need.BATCH,)),
)
