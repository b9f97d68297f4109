"""Every canary of the seam, and what those say that have fallen silent."""

from __future__ import annotations

from maskviz.tracing.seam import (
    auto_classes,
    experts,
    implementations,
    keras_names,
    masks,
    onednn,
    torch_names,
)
from maskviz.tracing.seam.replacing import Canary, troubles

CANARIES: tuple[Canary, ...] = (
    *masks.CANARIES,
    *implementations.CANARIES,
    *experts.CANARIES,
    *auto_classes.CANARIES,
    *torch_names.CANARIES,
    *onednn.CANARIES,
    *keras_names.CANARIES,
)


def what_has_moved() -> tuple[str, ...]:
    """A sentence for each thing that the installed releases keep elsewhere than those that were tested."""
    return troubles(CANARIES)
