"""Rules on what a batch holds: labels, packed texts, contents, and running it at all."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Sequence

import numpy as np

from maskviz.analyse.lints.masks import wrong_offsets
from maskviz.core.checks.case import Case, GivenBatch, ModelFacts, Row
from maskviz.core.checks.findings import Confidence, Finding, Lint, Need
from maskviz.core.checks.known import found
from maskviz.core.rules.positions import starts_of_blocks
from maskviz.core.words import Backend, Severity
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


_OF_LABELS: tuple[Lint, ...] = (
    Lint("B1", labels_of_other_length, (Need.BATCH, Need.LABELS)),
    Lint("B2", labels_outside, (Need.BATCH, Need.LABELS)),
    Lint("B3", no_label_left, (Need.BATCH, Need.LABELS)),
    Lint("B4", assistant_mask_empty, (Need.BATCH,)),
    Lint("B8", labels_shifted, (Need.BATCH, Need.LABELS, Need.MODEL)),
    Lint("B9", decoder_given_its_labels, (Need.BATCH, Need.LABELS)),
)


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


_OF_CONTENTS: tuple[Lint, ...] = (
    Lint("B5", unread_part, (Need.BATCH, Need.MODEL)),
    Lint("B6", booleans, (Need.BATCH,)),
    Lint("B7", first_token_twice, (Need.BATCH,)),
)


def packed_not_separated(case: Case) -> Iterator[Finding]:
    """K1: queries of one packed text may see keys of another, or do, or one text moves another by another way."""
    run = case.run
    if run is None or run.crossing is None or case.meant is not None:
        return  # T11 says where a mask is not the one that is meant
    moved = run.crossed is not None and run.crossed > run.noticeable_alike
    if run.crossing.separated and not moved:
        return
    cost = []
    if run.crossing.attention and not run.crossing.separated:
        worst = int(np.argmax(run.crossing.attention))
        cost.append(f"{run.crossing.attention[worst]:.2f} of the attention of text {worst + 1} falls on other texts")
    if run.crossed is not None:
        cost.append(f"with another first text, outputs of the others move by up to {run.crossed:.2g}")
    tried = ""
    if run.separated_without_cache is not None:
        with_it = "nothing crosses" if run.separated_without_cache else "the texts are not separated either"
        tried = f"with use_cache=False and no attention_mask {with_it}"
    message = f"{run.crossing.cells} visible cells have their query in one text and their key in another"
    if run.crossing.separated:
        message = "no mask shows one text another, and a layer without an attention matrix carries it over"
    yield found(
        "K1",
        "the packed row",
        f"{message}{_numbered(case)}",
        measured="; ".join(cost),
        confidence=Confidence.MEASURED if cost or tried else Confidence.CERTAIN,
        tried=tried,
        cure=_cure_of_crossing(case),
    )


def _numbered(case: Case) -> str:
    """That the texts are told apart by numbers in the attention mask, which are read as 1."""
    if not _has_numbers(case):
        return ""
    return "; the attention_mask numbers the texts, and transformers reads every number but 0 as 1"


def _cure_of_crossing(case: Case) -> str:
    if case.run is not None and case.run.crossing is not None and case.run.crossing.separated:
        return "Do not pack texts through such layers, or pass what they restart by (seq_idx, cu_seq_lens)."
    if not _has_numbers(case):
        return ""
    return "Make [batch, 1, query, key] of them: same number, not 0, and causal; or pass restarting position_ids alone."


def _has_numbers(case: Case) -> bool:
    return case.batch is not None and any(keep is not None and max(keep) > 1 for keep in case.batch.keep)


def packed_positions_run_on(case: Case) -> Iterator[Finding]:
    """K2: a mask of causal blocks on the diagonal, and positions that do not restart with them."""
    if case.array is None or case.array.visible is None or case.batch is None or case.meant is not None:
        return
    moved = None if case.run is None else case.run.counted
    # Positions by rotation count from anywhere.
    harmless = moved is not None and case.run is not None and moved <= case.run.noticeable_alike
    for row in range(len(case.batch.ids)):
        visible = case.array.visible[row % len(case.array.visible)].any(axis=0)
        starts = starts_of_blocks(visible)
        positions = case.batch.position_ids[row] if row < len(case.batch.position_ids) else None
        if len(starts) < 2 or visible.shape[1] != len(case.batch.ids[row]):
            continue
        if positions is None or any(positions[start] > positions[start - 1] for start in starts[1:]):
            said = (
                "no position_ids are passed"
                if positions is None
                else f"position {positions[starts[1]]} at token {starts[1]}"
            )
            message = f"the mask keeps {len(starts)} texts apart, and their positions run on: {said}"
            cost = "" if moved is None else f"with positions that restart, outputs move by up to {moved:.2g}"
            how = Confidence.CERTAIN if moved is None else Confidence.MEASURED
            weight = Severity.NOTE if harmless else None
            yield found("K2", f"text {row + 1}", message, row=row, measured=cost, confidence=how, weight=weight)


def offsets_of_batch(case: Case) -> Iterator[Finding]:
    """T12: offsets of packed texts that do not start at 0, rise, and end at the tokens of the batch."""
    if case.batch is None:
        return
    tokens = sum(map(len, case.batch.ids))
    for name, offsets in case.batch.offsets:
        if wrong := wrong_offsets(np.array(offsets), tokens):
            yield found("T12", name, "; ".join(wrong))


def flash_packing(case: Case) -> Iterator[Finding]:
    """K3: packed texts that flash attention does not keep apart just where the model's own masks do."""
    run = case.run
    if run is None or run.backend is not Backend.FLASH or run.trace.batch.documents is None:
        return
    if not all(group.expressed for group in run.handed):
        message = "flash attention, in this release and with what it is handed, separates them elsewhere than the masks"
        yield found("K3", "the packed row", message, confidence=Confidence.MEASURED)


_OF_PACKING: tuple[Lint, ...] = (
    Lint("K1", packed_not_separated, (Need.RUN,)),
    Lint("T12", offsets_of_batch, (Need.BATCH,)),
    Lint("K2", packed_positions_run_on, (Need.ARRAY, Need.BATCH)),
    Lint("K3", flash_packing, (Need.RUN,)),
)


def capture_changes_outputs(case: Case) -> Iterator[Finding]:
    """N2: the outputs of the run that shows its weights differ from those of a plain one by more than rounding."""
    run = case.run
    if run is None or run.trace.drift is None or run.broken or run.rounds:
        return
    if math.isnan(run.trace.drift) or run.trace.drift > run.noticeable:
        plain = run.trace.plain_attention
        how = f"eager attention, which shows its weights, puts out something else than {plain}"
        yield found(
            "N2",
            run.trace.card.architecture,
            how if plain else "the module puts out something else while its weights are asked for",
            measured=f"outputs differ by up to {run.trace.drift:.2g}, the largest is {run.size:.2g}",
            confidence=Confidence.MEASURED,
        )


def no_weights_returned(case: Case) -> Iterator[Finding]:
    """N5: the config asks for attention weights, and none are returned."""
    if case.run is None or case.model is None:
        return
    if case.model.asks_weights and case.run.weights is False:
        message = f"output_attentions is set, and {case.model.implementation} attention returns no weights"
        yield found("N5", case.model.architecture, message, confidence=Confidence.MEASURED)


def broken_padding(case: Case) -> Iterator[Finding]:
    """N6: the embedding of a padding token is not a number."""
    if case.run is None or not case.run.broken:
        return
    drift = case.run.trace.drift
    cost = "outputs of real tokens are not numbers either" if drift is not None and math.isnan(drift) else ""
    ids = ", ".join(map(str, case.run.broken))
    yield found("N6", "the embeddings", f"those of id {ids}, which is padding here, are NaN or infinite", measured=cost)


_OF_RUNNING: tuple[Lint, ...] = (
    Lint("N2", capture_changes_outputs, (Need.RUN, Need.WEIGHTS)),
    Lint("N5", no_weights_returned, (Need.RUN, Need.WEIGHTS)),
    Lint("N6", broken_padding, (Need.RUN, Need.WEIGHTS)),
)

LINTS = (*_OF_LABELS, *_OF_CONTENTS, *_OF_PACKING, *_OF_RUNNING)
