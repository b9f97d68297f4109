"""Rules about positions that a mask does not go with."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.analyse.lints.found import found
from maskviz.core.checks.case import Case
from maskviz.core.checks.findings import Confidence, Finding
from maskviz.core.checks.lint import Lint, Need
from maskviz.core.rules.positions import positions_of, starts_of_blocks


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


LINTS: tuple[Lint, ...] = (Lint("P12", positions_against_mask, (Need.BATCH, Need.ARRAY)),)
