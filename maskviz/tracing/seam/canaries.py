"""Every canary of the seam, and what those say that have fallen silent."""

from __future__ import annotations

from maskviz.tracing.seam import (
    auto_classes,
    experts,
    flex,
    implementations,
    keras_names,
    masks,
    onednn,
    scripted,
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
    *flex.CANARIES,
    *scripted.CANARIES,
)


def what_has_moved() -> tuple[str, ...]:
    """A sentence for each thing that the installed releases keep elsewhere than those that were tested."""
    return troubles(CANARIES)
