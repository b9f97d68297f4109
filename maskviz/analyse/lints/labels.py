"""Rules about labels: how many, of which classes, on which tokens, and whether any are left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from maskviz.analyse.lints.found import found
from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Finding
from maskviz.core.checks.given_batch import Row
from maskviz.core.checks.lint import Lint, Need
from maskviz.core.words import Severity
from maskviz.core.writing import plural

IGNORED = -100
# Fewer labels than this are the next tokens, or the decoder's own, by chance.
_TELLING = 3


def labels_of_other_length(case: Case) -> Iterator[Finding]:
    """B1: labels that are more or fewer than the tokens they are of."""
    batch, model = case.batch, case.model
    if batch is None:
        return
    side, tokens = ("decoder ", batch.decoder_ids) if batch.decoder_ids else ("", batch.ids)
    if not batch.decoder_ids and model is not None and "decoder_input_ids" in model.reads:
        return  # the decoder's ids are made of the labels
    if batch.labels and len(batch.labels) != len(tokens):
        yield found("B1", batch.name or "the batch", f"{plural(len(tokens), 'row')} and labels of {len(batch.labels)}")
        return
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
    of_texts = None if case.model is None else case.model.text_classes
    for row, label in enumerate(batch.text_labels):
        if of_texts is not None and label is not None and not 0 <= label < of_texts and label != IGNORED:
            yield found("B2", _text(row), f"its label is {label:g}; there are {of_texts} classes, from 0", row=row)


def _outside(label: int, classes: int | None) -> bool:
    return label != IGNORED and (label < 0 or (classes is not None and label >= classes))


def labels_shifted(case: Case) -> Iterator[Finding]:
    """B8: labels that are the next tokens, for a model that looks for the next token's label itself; or the row's own
    tokens, padded on the other side."""
    batch = case.batch
    if batch is None or case.model is None or not case.model.predicts_next:
        return
    for row, (ids, labels) in enumerate(zip(batch.ids, batch.labels, strict=False)):
        if labels is None or len(labels) != len(ids):
            continue
        keep = batch.kept(row)
        real = [place for place in range(len(ids)) if len(keep) != len(ids) or keep[place]]
        here = [(labels[place], ids[place]) for place in real]
        if not real or _alike(here) >= 0.5:
            continue
        next_of = [(labels[place], ids[place + 1]) for place in real[:-1]]
        if _is_shifted(next_of):
            yield found("B8", _text(row), f"all {_labelled(next_of)} labels are the tokens that come next", row=row)
        elif (off := _offset([one for one in labels if one != IGNORED], labels, ids)) and abs(off) == len(ids) - len(
            real
        ):
            message = f"its labels are its own tokens, {plural(abs(off), 'place')} {'later' if off > 0 else 'earlier'}"
            cure = "Pad labels on the side on which ids are padded."
            yield found("B8", _text(row), message, row=row, cure=cure)


def _is_shifted(pairs: Sequence[tuple[int, int]]) -> bool:
    return _labelled(pairs) >= _TELLING and _alike(pairs) == 1


def _labelled(pairs: Sequence[tuple[int, int]]) -> int:
    return sum(one != IGNORED for one, _ in pairs)


def _alike(pairs: Sequence[tuple[int, int]]) -> float:
    """Share of labels that are the token beside them; 1 where nothing has a label."""
    labelled = [(one, other) for one, other in pairs if one != IGNORED]
    return sum(one == other for one, other in labelled) / len(labelled) if labelled else 1.0


def _offset(left: Sequence[int], labels: Row, ids: Row) -> int:
    """By how many places labels in one piece stand behind the same tokens; 0 where they do not."""
    if len(left) < _TELLING:
        return 0
    start = next(place for place, one in enumerate(labels) if one != IGNORED)
    if tuple(left) != labels[start : start + len(left)]:
        return 0
    for place in range(len(ids) - len(left) + 1):
        if ids[place : place + len(left)] == tuple(left):
            return start - place
    return 0


def decoder_given_its_labels(case: Case) -> Iterator[Finding]:
    """B9: a decoder whose ids are its labels, so that it is shown what it is to predict."""
    batch = case.batch
    if batch is None or not batch.decoder_ids:
        return
    for row, (ids, labels) in enumerate(zip(batch.decoder_ids, batch.labels, strict=False)):
        if labels is None or len(labels) != len(ids):
            continue
        pairs = list(zip(labels, ids, strict=True))
        if _is_shifted(pairs):
            yield found(
                "B9", _text(row), f"all {_labelled(pairs)} labels are the decoder's ids at their place", row=row
            )


def no_label_left(case: Case) -> Iterator[Finding]:
    """B3: no token of the batch is trained on; a warning for a row of others, which such a row only slows down. A model
    that predicts the next token never predicts the first."""
    batch, model = case.batch, case.model
    if batch is None:
        return
    predicts = model is not None and model.predicts_next
    rows = [(row, labels) for row, labels in enumerate(batch.labels) if labels is not None]
    empty = [(row, labels) for row, labels in rows if all(one == IGNORED for one in labels[int(predicts) :])]
    whole = len(empty) == len(rows)
    if not whole and model is not None and not predicts:
        return  # a collator that masks tokens by chance leaves such rows
    for row, labels in empty:
        message = f"all {len(labels)} labels are {IGNORED}"
        if any(label != IGNORED for label in labels):
            message = "its first token alone has a label, and nothing predicts that one"
        kept = batch.assistant[row] if row < len(batch.assistant) else None
        cure = "" if whole else "Drop it: it adds nothing to the loss, which is NaN where it is alone in a batch."
        if kept is not None and not any(kept):
            cure = "The assistant mask keeps no token: see B4; a template with {% generation %} marks makes one."
        yield found("B3", _text(row), message, row=row, cure=cure, weight=None if whole else Severity.WARNING)


def assistant_mask_empty(case: Case) -> Iterator[Finding]:
    """B4: a mask of what an assistant wrote that is zero everywhere."""
    for row, mask in enumerate(() if case.batch is None else case.batch.assistant):
        if mask is not None and not any(mask):
            yield found("B4", _text(row), f"none of its {len(mask)} entries is 1", row=row)


def _text(row: int) -> str:
    return f"text {row + 1}"


LINTS: tuple[Lint, ...] = (
    Lint("B1", labels_of_other_length, (Need.BATCH, Need.LABELS)),
    Lint("B2", labels_outside, (Need.BATCH, Need.LABELS)),
    Lint("B3", no_label_left, (Need.BATCH, Need.LABELS)),
    Lint("B4", assistant_mask_empty, (Need.BATCH,)),
    Lint("B8", labels_shifted, (Need.BATCH, Need.LABELS, Need.MODEL)),
    Lint("B9", decoder_given_its_labels, (Need.BATCH, Need.LABELS)),
)
