"""The known traps of attention masks. An id is never given to another trap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from maskviz.core.checks.brought import brought_traps
from maskviz.core.checks.findings import Trap
from maskviz.core.checks.traps import batches, masks, models


def _number(trap: Trap) -> tuple[int, int]:
    return "PBTNLKH".index(trap.id[0]), int(trap.id[1:])


HOUSE: dict[str, Trap] = {trap.id: trap for trap in sorted((*batches.TRAPS, *masks.TRAPS, *models.TRAPS), key=_number)}


class Traps(Mapping[str, Trap]):
    """Every trap by its id: those of the house, then those that other packages bring. These are imported for whoever
    asks on, or for all of them; a package that is broken raises an `ExtensionError` there."""

    def __getitem__(self, identity: str) -> Trap:
        return HOUSE[identity] if identity in HOUSE else brought_traps(HOUSE)[identity]

    def __iter__(self) -> Iterator[str]:
        return iter([*HOUSE, *brought_traps(HOUSE)])

    def __len__(self) -> int:
        return len(HOUSE) + len(brought_traps(HOUSE))


TRAPS = Traps()

# Traps of method, which nothing that is handed to a check can show.
NOT_CHECKED = {
    "H4": "self-repair: later heads make up for a silenced one; prune and show --head-mask silence several at once",
    "H5": "redundant is not unimportant: prune draws random orders beside every ranking",
}
