"""What was read of heads as JSON with every number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from maskviz.core.results.head_reading import HeadReading, LayerReading
from maskviz.core.run.trace import ModelCard
from maskviz.store.preamble import preamble
from maskviz.store.readable import readable_json


def heads_json(
    reading: HeadReading, card: ModelCard, texts: Sequence[str], command: str, done: Sequence[str] = ()
) -> bytes:
    """A reading: each layer's `statistics` are [head] lists of means, chance levels and queries; null where none."""
    return readable_json({
        **preamble("heads", card, texts, command),
        "tokens": list(reading.tokens),
        "done": list(done),
        "layers": [_layer(layer) for layer in reading.layers],
    })  # fmt: skip


def _layer(layer: LayerReading) -> dict[str, Any]:
    return {
        "stack": layer.stack.value,
        "layer": layer.layer,
        "heads": layer.heads,
        "statistics": {
            kind.value: {
                "mean": one.mean.tolist(),
                "chance": one.chance.tolist(),
                "queries": one.queries.tolist(),
            }
            for kind, one in layer.measured.items()
        },
        "usual_offset": None if layer.usual is None else layer.usual.tolist(),
        "top_offsets": [
            [{"offset": one.offset, "share": one.share, "chance": one.chance} for one in head] for head in layer.offsets
        ],
        "not_a_number": layer.undefined.tolist(),
        "roles": [
            [
                {
                    "role": one.role.value,
                    "statistic": one.criterion.statistic.value,
                    "score": one.score,
                    "chance": one.chance,
                    "queries": one.queries,
                    "threshold": one.criterion.threshold,
                    "source": one.criterion.source,
                }
                for one in head
            ]
            for head in layer.roles
        ],
    }
