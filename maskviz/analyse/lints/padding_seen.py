"""Rules on who sees padding."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.analyse.lints.layers import cross_attention_unmasked, layers_in, recurrence_sees_padding
from maskviz.analyse.lints.masks import inverted, queries_and_keys_swapped
from maskviz.analyse.lints.numbers import minimum_twice
from maskviz.analyse.lints.padding import mask_of_other_length
from maskviz.analyse.padding_share import attention_on_padding
from maskviz.core.arrays import BoolArray
from maskviz.core.checks.case import Case, Row
from maskviz.core.checks.findings import Confidence, Finding, Lint, Need
from maskviz.core.checks.known import found
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.writing import plural

_UNUSED = "The class does not use its attention_mask in these layers: run texts of one length together."


def padding_shown(case: Case) -> Iterator[Finding]:
    """P10: a real query that may attend to keys which the batch's own mask calls padding, in the model's own stacks of
    one side (what a decoder sees of its encoder's padding is L9)."""
    if case.batch is None or case.run is None:
        return
    for row, (calls, cell) in _shown(case).items():
        message, cure = "its real tokens may attend to its padding, though its mask hides it", _UNUSED
        if case.run.plain is not None:
            message = "the mask that was given shows real tokens the padding of the batch"
            cure = "mask & keep[:, None, None, :]: a mask of [query, key] takes the place of the batch's own."
        elif case.model is not None and case.model.own:
            message = "real positions may attend to what its inputs, or the masks of other layers, call padding"
            cure = "Hand it on: src_key_padding_mask, keep[:, None, None] to sdpa, supports_masking for Keras' layers."
        elif case.model is not None and case.model.reads and "attention_mask" not in case.model.reads:
            cure = "The forward takes no attention_mask by name: run texts of one length together."
        message = f"{message}: {cell}"
        share, one = attention_on_padding(case.run.trace, row, calls), case.run.padded_text(row)
        said = [] if share is None else [f"{share:.2f} of their attention falls on it"]
        tried = ""
        if one is not None:
            said.append(f"their outputs are off by up to {one.alone:.2g} from those of the text alone")
            tried = "" if one.masked is None else f"with the padding hidden in every row too: {one.masked:.2g}"
        yield found(
            "P10",
            f"text {row + 1}, {layers_in(calls, case.run.trace)}",
            message,
            measured="; ".join(said),
            confidence=Confidence.MEASURED if said else Confidence.CERTAIN,
            row=row,
            tried=tried,
            cure=cure,
        )


def _shown(case: Case) -> dict[int, tuple[tuple[AttentionCall, ...], str]]:
    """The calls of each row in which a real query may see a key that the batch hides, and the first such cell."""
    batch, run = case.batch, case.run
    if batch is None or run is None:
        return {}
    ragged = len({len(ids) for ids in batch.ids}) > 1
    found_in = {}
    for row in range(min(run.trace.batch.rows, len(batch.keep))):
        keep = batch.keep[row]
        if keep is None and case.array is not None:
            keep = batch.kept(row)
        if keep is None and not ragged:
            continue  # P1 says it where no mask is passed
        cells = [(call, _first_seen(run.trace, call, row, None if ragged else keep)) for call in run.trace.calls]
        seen = [(call, cell) for call, cell in cells if cell]
        if seen:
            found_in[row] = tuple(call for call, _ in seen), seen[0][1]
    return found_in


def _first_seen(trace: Trace, call: AttentionCall, row: int, keep: Row | None) -> str:
    """The first cell of a call within one side in which a real query sees a key that the row's mask hides, in words;
    "" for none."""
    queries, keys = trace.sides(call)
    if queries is not trace.batch or keys is not trace.batch or (keep is not None and len(keep) != keys.length):
        return ""
    hidden: BoolArray = ~keys.keep[row] if keep is None else ~np.array(keep, np.bool_)
    visible: BoolArray = np.asarray(call.mask.visible[row].any(axis=0))
    if visible.shape[1] < len(hidden) or visible.shape[0] > len(hidden):
        return ""  # its queries are more than the tokens, such as bytes, or prompts a model puts before a text
    real = trace.real_queries(call)[row] & ~hidden[len(hidden) - visible.shape[0] :]
    cells = np.argwhere(visible[:, : len(hidden)] & hidden & real[:, None])
    return f"token {cells[0][0] + call.mask.query_offset} sees key {cells[0][1]}" if len(cells) else ""


def own_key_hidden(case: Case) -> Iterator[Finding]:
    """P13: real tokens that do not see themselves where a mask was given and see themselves without it."""
    if case.batch is None or case.run is None or case.run.plain is None:
        return
    if any(True for rule in (inverted, queries_and_keys_swapped, minimum_twice) for _ in rule(case)):
        return
    trace = case.run.trace
    calls = [
        call
        for call in trace.calls
        if all(one is trace.batch for one in trace.sides(call)) and call.mask.visible.shape[2] == trace.batch.length
    ]
    for row in range(min(trace.batch.rows, len(case.batch.keep)) if calls else 0):
        real = np.array(case.batch.kept(row), np.bool_)
        visible: BoolArray = np.asarray(calls[0].mask.visible[row].any(axis=0))
        own = np.diagonal(visible)[: trace.batch.length]
        if len(real) != len(own):
            continue
        hidden = np.flatnonzero(real & ~own)
        if not visible[hidden].any():
            continue  # N1 says it of queries that see nothing
        if len(hidden):
            every = "; no token does" if len(hidden) == real.sum() else ""
            several = "does not see itself" if len(hidden) == 1 else "do not see themselves"
            message = f"{plural(len(hidden), 'real token')} {several}, the first is token {hidden[0]}{every}"
            cure = "Keep the diagonal: torch.tril(mask) and not torch.tril(mask, -1)." if every else ""
            yield found("P13", f"text {row + 1}, {layers_in(calls, trace)}", message, row=row, cure=cure)


def padding_moves_outputs(case: Case) -> Iterator[Finding]:
    """P11: a padded text whose outputs differ from those alone, which no mask, positions or other rule explain."""
    run = case.run
    if case.batch is None or run is None or run.broken:
        return
    others = (padding_shown, cross_attention_unmasked, recurrence_sees_padding, mask_of_other_length)
    explained = {one.row for rule in others for one in rule(case)}
    for one in run.padded:
        least = min(moved for moved in (one.alone, one.masked, one.counted) if moved is not None)
        if least > run.noticeable and one.row not in explained:
            message = f"padded on the {'left' if one.left else 'right'}, and its outputs are others than alone"
            cost = f"outputs of its real tokens are off by up to {least:.2g}; no mask of a layer shows its padding"
            tried = "" if one.right is None else f"with its padding on the right: {one.right:.2g}"
            mended = one.right is not None and one.right <= run.noticeable
            cure = "Pad on the right: the class takes no positions, and padding on the left shifts its own."
            yield found(
                "P11",
                f"text {one.row + 1}",
                message,
                measured=cost,
                confidence=Confidence.MEASURED,
                row=one.row,
                tried=tried,
                cure=cure if mended else "",
            )


LINTS: tuple[Lint, ...] = (
    Lint("P10", padding_shown, (Need.BATCH, Need.RUN)),
    Lint("P13", own_key_hidden, (Need.BATCH, Need.RUN, Need.ARRAY)),
    Lint("P11", padding_moves_outputs, (Need.BATCH, Need.RUN, Need.WEIGHTS)),
)
