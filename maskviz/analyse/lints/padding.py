"""Rules on padding: what hides it, which side it is on, which positions it has, who sees it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.analyse.padding_share import attention_on_padding
from maskviz.core.checks.case import Behaviour, Case, Row
from maskviz.core.checks.findings import Confidence, Finding, Lint, Need
from maskviz.core.checks.known import found
from maskviz.core.rules.positions import positions_of, starts_of_blocks
from maskviz.core.words import Backend, Purpose, Severity


def positions_against_mask(case: Case) -> Iterator[Finding]:
    """P12: a mask in which what a token sees, sees no more than the token does, and positions that do not count it."""
    if case.batch is None or case.array is None or case.array.visible is None:
        return
    moved = None if case.run is None else case.run.counted
    if moved is not None and case.run is not None and moved <= case.run.noticeable_alike:
        return
    for row, ids in enumerate(case.batch.ids):
        visible = case.array.visible[row % len(case.array.visible)].any(axis=0)
        wanted = positions_of(visible, np.array(case.batch.kept(row), np.bool_))
        given = case.batch.position_ids[row] if row < len(case.batch.position_ids) else None
        positions = np.arange(len(ids)) if given is None else np.array(given)
        if wanted is None or len(wanted) != len(positions) or len(starts_of_blocks(visible)) > 1:
            continue
        real = np.flatnonzero(wanted >= 0)
        away = (positions - wanted)[real]
        off = real[away != away[0]] if len(real) else real
        if not len(off):
            continue
        first = int(off[0])
        yield found(
            "P12",
            f"text {row + 1}",
            f"token {first} sees {int(wanted[first]) + 1} keys with its own, and has position {int(positions[first])}",
            measured="" if moved is None else f"with positions that count keys, outputs move by up to {moved:.2g}",
            confidence=Confidence.CERTAIN if moved is None else Confidence.MEASURED,
            row=row,
        )


_OF_POSITIONS: tuple[Lint, ...] = (Lint("P12", positions_against_mask, (Need.BATCH, Need.ARRAY)),)


_IGNORED = -100
# Attention on padding of a smaller share is printed as 0.00.
_SHARE = 0.005


def pad_without_mask(case: Case) -> Iterator[Finding]:
    """P1: padding at an end of a row, and no attention mask, or one that keeps it."""
    batch = case.batch
    if batch is None or batch.pad_id is None:
        return
    upside_down = {one.row for one in mask_upside_down(case)}
    for row, (ids, keep) in enumerate(zip(batch.ids, batch.keep, strict=True)):
        if row in upside_down:
            continue
        ends = batch.ends(row)
        count = sum(ends)
        if not count or batch.restarts(row) or (keep is None and case.array is not None):
            continue  # a mask of [query, key] is passed: P10 looks at its cells
        kept = (
            keep is not None and len(keep) == len(ids) and all(one for one, end in zip(keep, ends, strict=True) if end)
        )
        if keep is None or kept:
            what = "an attention_mask that keeps" if kept else "no attention_mask for"
            message = f"{what} {_tokens(count, 'padding token')} (id {batch.pad_id})"
            cost, how = _cost_of_padding(case.run, row)
            weight = Severity.NOTE if _costs_nothing(case.run, row) else None
            yield found("P1", _text(row), message, row=row, measured=cost, confidence=how, weight=weight)


def _costs_nothing(run: Behaviour | None, row: int) -> bool:
    """Whether padding was measured and neither takes attention nor moves an output."""
    one = None if run is None else run.padded_text(row)
    if run is None or one is None:
        return False
    return one.alone <= run.noticeable and (attention_on_padding(run.trace, row) or 0.0) < _SHARE


def mask_upside_down(case: Case) -> Iterator[Finding]:
    """T1: a row whose mask keeps its padding, all of it, and hides its text."""
    batch = case.batch
    if batch is None or batch.pad_id is None:
        return
    for row, (ids, keep) in enumerate(zip(batch.ids, batch.keep, strict=True)):
        ends = batch.ends(row)
        if keep is None or len(keep) != len(ids) or not any(ends):
            continue
        if all(bool(one) == end for one, end in zip(keep, ends, strict=True)):
            message = f"its mask keeps {_tokens(sum(ends), 'padding token')} and hides its text"
            yield found(
                "T1", _text(row), message, row=row, cure="Turn it round (1 - mask): 1 keeps a token, 0 hides it."
            )


def _cost_of_padding(run: Behaviour | None, row: int) -> tuple[str, Confidence]:
    if run is None:
        return "", Confidence.CERTAIN
    share = attention_on_padding(run.trace, row)
    said = [] if share is None else [f"{share:.2f} of its attention falls on padding"]
    one = run.padded_text(row)
    if one is not None and one.masked is not None:
        said.append(f"its outputs are off by up to {one.alone:.2g}, and by {one.masked:.2g} with a mask")
    return "; ".join(said), Confidence.MEASURED if said else Confidence.CERTAIN


def pad_is_eos(case: Case) -> Iterator[Finding]:
    """P2: one id for padding and the end of a text, where somebody goes by the id."""
    batch = case.batch
    if batch is None or batch.pad_id is None or batch.pad_id != batch.eos_id:
        return
    for row, ids in enumerate(batch.ids):
        keep, labels = batch.keep[row], _part(batch.labels, row)
        if keep is None:
            if any(batch.ends(row)) and not batch.restarts(row):
                message = f"id {batch.pad_id} is both, and no mask says which of them are padding"
                yield found("P2", _text(row), message, row=row)
            continue
        last = max((place for place, kept in enumerate(keep[: len(ids)]) if kept), default=None)
        if last is None or labels is None or ids[last] != batch.eos_id or last >= len(labels):
            continue
        if labels[last] == _IGNORED and any(label != _IGNORED for label in labels):
            message = f"the end of the text at token {last} has label {_IGNORED}, as if it were padding"
            yield found("P2", _text(row), message, row=row)


def right_padding_to_generate(case: Case) -> Iterator[Finding]:
    """P3: a decoder whose last column is padding, unless it is only run forward or trained; a warning where nobody said
    what the batch is for."""
    batch = case.batch
    if batch is None or case.model is None or not case.model.predicts_next:
        return
    trained = any(one is not None for one in batch.labels) and case.purpose is not Purpose.GENERATE
    if case.purpose is Purpose.FORWARD or trained:
        return
    for row, ids in enumerate(batch.ids):
        keep = batch.kept(row)
        if not any(keep) or not len(keep) or keep[-1] or batch.restarts(row):
            continue
        cost = _cost_of_last_column(case.run, row)
        how = Confidence.MEASURED if cost else Confidence.CERTAIN
        count = len(keep) - 1 - max(place for place, kept in enumerate(keep) if kept)
        message = (
            f"its last {_tokens(count, 'column')} of {len(ids)} are padding"
            if count > 1
            else "its last column is padding"
        )
        known = case.purpose is Purpose.GENERATE
        cure = "" if known else "Pad on the left to generate; for a forward pass or training it is right as it is."
        weight = None if known else Severity.WARNING
        yield found("P3", _text(row), message, row=row, measured=cost, confidence=how, cure=cure, weight=weight)


def _cost_of_last_column(run: Behaviour | None, row: int) -> str:
    one = None if run is None else run.padded_text(row)
    if run is None or one is None or one.last is None:
        return ""
    at_last, at_real = (f"{run.names.get(token, '')!r} (id {token})" for token in one.last)
    if at_last == at_real:
        return f"the last column predicts {at_last}, and so does the last real token"
    return f"the last column predicts {at_last}, the last real token {at_real}"


_NONE_PASSED = "padded on the left, and no position_ids are passed"


def left_padding_without_positions(case: Case) -> Iterator[Finding]:
    """P4: left padding moves the outputs of real tokens, and positions that count them put it right."""
    if case.run is None or case.purpose is Purpose.GENERATE:
        return
    run = case.run
    for one in run.padded:
        still = one.alone if one.masked is None else one.masked
        given = case.batch is not None and _part(case.batch.position_ids, one.row) is not None
        if one.left and one.counted is not None and still > run.noticeable and one.counted < still / 2:
            yield found(
                "P4",
                _text(one.row),
                "padded on the left, and its position_ids count the padding" if given else _NONE_PASSED,
                measured=f"outputs of its real tokens are off by up to {still:.2g}, and by {one.counted:.2g} with "
                "positions that count them",
                confidence=Confidence.MEASURED,
                row=one.row,
            )


def rows_of_padding_used(case: Case) -> Iterator[Finding]:
    """P5: labels on padding, so that rows without meaning count in the loss."""
    if case.batch is None or of_decoder(case):
        return
    for row, labels in enumerate(case.batch.labels):
        keep = case.batch.keep[row] if row < len(case.batch.keep) else None
        if labels is None or keep is None or len(labels) != len(keep):
            continue
        counted = [
            place
            for place, (label, kept) in enumerate(zip(labels, keep, strict=True))
            if not kept and label != _IGNORED
        ]
        if counted and any(keep):
            some = _tokens(len(counted), "padding token")
            message = f"{some} with a label other than {_IGNORED}, the first at {counted[0]}"
            yield found("P5", _text(row), message, row=row)


def of_decoder(case: Case) -> bool:
    """Whether labels are of a decoder's tokens, and not of those of the rows."""
    reads = () if case.model is None else case.model.reads
    return bool(case.batch and case.batch.decoder_ids) or "decoder_input_ids" in reads


def all_padded_row(case: Case) -> Iterator[Finding]:
    """P6: a row whose attention mask keeps nothing."""
    if case.batch is None or any(mask_upside_down(case)):
        return  # turned round, a row of the longest text is all padding
    for row, keep in enumerate(case.batch.keep):
        if keep is not None and not any(keep):
            yield found("P6", _text(row), f"none of its {len(keep)} mask entries is 1", row=row)


def mask_of_other_length(case: Case) -> Iterator[Finding]:
    """P7: a mask that is not as long as its row, or with zeros between ones."""
    batch = case.batch
    if batch is None:
        return
    sides = ((batch.ids, batch.keep, "", batch.specials), (batch.decoder_ids, batch.decoder_keep, "decoder ", None))
    for name, parts in (("position_ids", batch.position_ids), ("token_type_ids", batch.token_types)):
        for row, (ids, part) in enumerate(zip(batch.ids, parts, strict=False)):
            if part is not None and len(part) != len(ids):
                yield found("P7", _text(row), f"{len(ids)} ids and {name} of {len(part)}", row=row)
    for rows, masks, side, specials in sides:
        for row, (ids, keep) in enumerate(zip(rows, masks, strict=False)):
            if keep is None:
                continue
            if len(keep) != len(ids) and len(ids) - len(keep) != specials:
                yield found("P7", _text(row), f"{len(ids)} {side}ids and a mask of {len(keep)}", row=row)
            elif len(keep) == len(ids) and (holes := _holes(keep)):
                message = f"{_tokens(len(holes), f'{side}zero')} between ones, the first at token {holes[0]}"
                cure = "Put padding at one end, or see what the zeros between ones are meant to hide."
                yield found("P7", _text(row), message, row=row, cure=cure, weight=Severity.WARNING)


def _holes(keep: Row) -> list[int]:
    """Places of zeros between ones."""
    ones = [place for place, kept in enumerate(keep) if kept]
    return [place for place in range(ones[0], ones[-1]) if not keep[place]] if ones else []


def made_without_specials(case: Case) -> Iterator[Finding]:
    """P8: a mask or labels shorter than the ids by just the special tokens."""
    batch = case.batch
    if batch is None or not batch.specials:
        return
    for row, ids in enumerate(batch.ids):
        labels = None if of_decoder(case) else _part(batch.labels, row)
        for name, part in (("a mask", batch.keep[row]), ("labels", labels)):
            if part is not None and len(ids) - len(part) == batch.specials:
                message = f"{len(ids)} ids and {name} of {len(part)}: the {batch.specials} special tokens are missing"
                yield found("P8", _text(row), message, row=row)


def flash_with_right_padding(case: Case) -> Iterator[Finding]:
    """P9: a decoder under flash attention, padded on the right, with a cache."""
    batch, run = case.batch, case.run
    if batch is None or run is None or case.model is None or not case.model.predicts_next:
        return
    if run.backend is not Backend.FLASH or case.purpose is Purpose.FORWARD or not run.cached:
        return
    rows = [row for row in range(len(batch.ids)) if any(batch.kept(row)) and not batch.kept(row)[-1]]
    if rows:
        yield found("P9", _texts(rows), "padded on the right, with a cache, under flash attention")


def _part(parts: tuple[Row | None, ...], row: int) -> Row | None:
    return parts[row] if row < len(parts) else None


def _text(row: int) -> str:
    return f"text {row + 1}"


def _texts(rows: list[int]) -> str:
    return f"text{'' if len(rows) == 1 else 's'} {', '.join(str(row + 1) for row in rows)}"


def _tokens(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


_OF_PADDING: tuple[Lint, ...] = (
    Lint("T1", mask_upside_down, (Need.BATCH,)),
    Lint("P1", pad_without_mask, (Need.BATCH,)),
    Lint("P2", pad_is_eos, (Need.BATCH,)),
    Lint("P3", right_padding_to_generate, (Need.BATCH, Need.MODEL)),
    Lint("P4", left_padding_without_positions, (Need.BATCH, Need.RUN, Need.WEIGHTS)),
    Lint("P5", rows_of_padding_used, (Need.BATCH, Need.LABELS)),
    Lint("P6", all_padded_row, (Need.BATCH,)),
    Lint("P7", mask_of_other_length, (Need.BATCH,)),
    Lint("P8", made_without_specials, (Need.BATCH,)),
    Lint("P9", flash_with_right_padding, (Need.BATCH, Need.MODEL, Need.RUN)),
)


LINTS = (*_OF_POSITIONS, *_OF_PADDING)
