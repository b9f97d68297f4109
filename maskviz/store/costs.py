"""What attention under rules costs, as JSON with every number."""

from __future__ import annotations

from typing import Any

import maskviz
from maskviz.core.results.results import Ruled, RuledLayers
from maskviz.store.readable import readable_json

VERSION = 1


def costs_json(ruled: Ruled, command: str) -> bytes:
    """Exact cells, blocks and operations of every rule; operations are of one layer, null where no heads are known."""
    return readable_json({
        "kind": "mask costs",
        "version": VERSION,
        "maskviz": maskviz.__version__,
        "command": command,
        "name": ruled.name,
        "rules": [_rule(layers) for layers in ruled.layers],
        "untold": list(ruled.untold),
    })  # fmt: skip


def _rule(ruled: RuledLayers) -> dict[str, Any]:
    cost, heads = ruled.cost, ruled.heads
    cells = {"square": cost.square, "blocks": cost.blocks.cells, "visible": cost.count.visible}
    return {
        "rule": str(cost.rule),
        "name": ruled.name,
        "layers": ruled.layers,
        "queries": cost.size.queries,
        "keys": cost.size.keys,
        "first_query": cost.size.offset,
        "cells": cells,
        "blocked": {reason.word: count for reason, count in cost.count.blocked.items()},
        "blocks": {
            "side": cost.blocks.side,
            "full": cost.blocks.full,
            "partial": cost.blocks.partial,
            "empty": cost.blocks.empty,
        },
        "sparsity_percent": cost.sparsity,
        "heads": None if heads is None else {"heads": heads.heads, "width": heads.width},
        "operations": None if heads is None else {name: heads.operations(number) for name, number in cells.items()},
    }
