"""Rules about several texts in one row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.analyse.lints.found import found
from maskviz.analyse.lints.shape import wrong_offsets
from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Confidence, Finding
from maskviz.core.checks.lint import Lint, Need
from maskviz.core.rules.positions import starts_of_blocks
from maskviz.core.words import Backend, Severity


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


LINTS: tuple[Lint, ...] = (
    Lint("K1", packed_not_separated, (Need.RUN,)),
    Lint("T12", offsets_of_batch, (Need.BATCH,)),
    Lint("K2", packed_positions_run_on, (Need.ARRAY, Need.BATCH)),
    Lint("K3", flash_packing, (Need.RUN,)),
)
