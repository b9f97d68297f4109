"""Rules about several texts in one row."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.analyse.lints.kind import Lint, found
from maskviz.core.arrays import BoolArray
from maskviz.core.case import Case
from maskviz.core.findings import Confidence, Finding
from maskviz.core.words import Backend


def packed_not_separated(case: Case) -> Iterator[Finding]:
    """K1: queries of one packed text may see keys of another, or do."""
    run = case.run
    if run is None or run.crossing is None or run.crossing.separated:
        return
    cost = ""
    if run.crossing.attention:
        worst = int(np.argmax(run.crossing.attention))
        cost = f"{run.crossing.attention[worst]:.2f} of the attention of text {worst + 1} falls on other texts"
    if run.separated_without_cache is not None:
        with_it = "nothing crosses" if run.separated_without_cache else "the texts are not separated either"
        cost += f"{'; ' if cost else ''}with use_cache=False and no attention_mask {with_it}"
    how = Confidence.MEASURED if cost else Confidence.CERTAIN
    message = f"{run.crossing.cells} visible cells have their query in one text and their key in another"
    yield found("K1", "the packed row", message, measured=cost, confidence=how)


def packed_positions_run_on(case: Case) -> Iterator[Finding]:
    """K2: a mask of causal blocks on the diagonal, and positions that do not restart with them."""
    if case.array is None or case.array.visible is None or case.batch is None:
        return
    for row in range(len(case.batch.ids)):
        visible = case.array.visible[row % len(case.array.visible)].any(axis=0)
        starts = blocks_of(visible)
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
            yield found("K2", f"text {row + 1}", message, row=row)


def blocks_of(visible: BoolArray) -> list[int]:
    """First tokens of the blocks on the diagonal of a mask bool [query, key]; one block where it does not fall apart,
    none where it is not square or a token stands alone."""
    tokens = len(visible)
    if visible.shape != (tokens, tokens) or not tokens:
        return []
    together = visible | visible.T
    starts = [0, *(place for place in range(1, tokens) if not together[place:, :place].any())]
    lengths = np.diff([*starts, tokens])
    return starts if (lengths > 1).all() else []


def flash_packing(case: Case) -> Iterator[Finding]:
    """K3: packed texts that flash attention does not keep apart just where the model's own masks do."""
    run = case.run
    if run is None or run.backend is not Backend.FLASH or run.trace.batch.documents is None:
        return
    if not all(group.expressed for group in run.handed):
        message = "flash attention, in this release and with what it is handed, separates them elsewhere than the masks"
        yield found("K3", "the packed row", message, confidence=Confidence.MEASURED)


LINTS: tuple[tuple[str, Lint], ...] = (
    ("K1", packed_not_separated),
    ("K2", packed_positions_run_on),
    ("K3", flash_packing),
)
