"""Every canary of the seam, and what those say that have fallen silent."""

from __future__ import annotations

from maskviz.tracing.seam import (
    auto_classes,
    caches,
    eager,
    experts,
    flash,
    flex,
    implementation,
    mask_functions,
    masks,
    onednn,
    parallel,
    torch_names,
)
from maskviz.tracing.seam.canary import Canary, troubles

CANARIES: tuple[Canary, ...] = (
    *eager.CANARIES,
    *masks.CANARIES,
    *mask_functions.CANARIES,
    *implementation.CANARIES,
    *caches.CANARIES,
    *flash.CANARIES,
    *flex.CANARIES,
    *experts.CANARIES,
    *auto_classes.CANARIES,
    *parallel.CANARIES,
    *torch_names.CANARIES,
    *onednn.CANARIES,
)


def what_has_moved() -> tuple[str, ...]:
    """A sentence for each thing that the installed releases keep elsewhere than those that were tested."""
    return troubles(CANARIES)
