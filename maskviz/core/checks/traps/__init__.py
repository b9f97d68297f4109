"""The known traps of attention masks. An id is never given to another trap."""

from __future__ import annotations

from maskviz.core.checks.findings import Trap
from maskviz.core.checks.traps import batches, masks, models


def _number(trap: Trap) -> tuple[int, int]:
    return "PBTNLKH".index(trap.id[0]), int(trap.id[1:])


TRAPS: dict[str, Trap] = {trap.id: trap for trap in sorted((*batches.TRAPS, *masks.TRAPS, *models.TRAPS), key=_number)}

# Traps of method, which nothing that is handed to a check can show.
NOT_CHECKED = {
    "H4": "self-repair: later heads make up for a silenced one; prune and show --head-mask silence several at once",
    "H5": "redundant is not unimportant: prune draws random orders beside every ranking",
}
