"""The classic head_mask: [head] for every layer, or [layer, head]; 1 keeps a head, 0 silences it."""

from __future__ import annotations

import numpy as np

from maskviz.conventions.shapes import wrong_shape
from maskviz.core.arrays import AnyArray, FloatArray
from maskviz.core.errors import UsageError
from maskviz.core.run.heads import HeadMask
from maskviz.core.words import Dialect
from maskviz.core.writing import parameter

# More gates than any model has heads.
_MOST_GATES = 2**24


def read_gates(values: AnyArray, layers: int | None = None) -> FloatArray:
    """Gates in [0, 1], float32 [head] or [layer, head].

    Args:
        values: [head] or [layer, head].
        layers: [head] is repeated for so many layers; 1 makes [head] of layers that are all the same. None leaves the
            axes as they are.

    Raises:
        UsageError: another shape, other numbers, or layers that differ or are not so many.
    """
    if values.ndim not in (1, 2) or not values.size:
        raise wrong_shape(values, Dialect.HEAD_MASK)
    if values.dtype.kind not in "buif" or not ((values >= 0) & (values <= 1)).all():
        raise UsageError("the gates of a head mask are from 0 to 1", "1 keeps a head, 0 silences it")
    gates: FloatArray = values.astype(np.float32)
    if (layers or 1) * gates.size > _MOST_GATES:
        raise UsageError(
            f"{(layers or 1) * gates.size:,} gates are more than any model has", f"fewer {parameter('layers')}"
        )
    if gates.ndim == 1:
        return gates if layers is None else np.tile(gates, (layers, 1))
    if layers in (None, len(gates)):
        return gates
    if layers != 1:
        raise UsageError(
            f"the head mask has {len(gates)} layers, and {parameter('layers')} says {layers}",
            f"leave out {parameter('layers')}",
        )
    other = (gates != gates[:1]).any(axis=1)
    if other.any():
        raise UsageError(
            f"[head] says one thing for every layer, and layers 0 and {int(other.argmax())} differ",
            f"leave out {parameter('layers')}",
        )
    first: FloatArray = gates[0]
    return first


def words_of(gates: FloatArray) -> str:
    """The gates, [head] or [layer, head], in the grammar of --head-mask; "" where all heads are kept."""
    words = str(HeadMask({"encoder": np.atleast_2d(gates)}))
    if gates.ndim == 2 or not words:
        return words
    return "; ".join(entry.replace("0:", "*:", 1) for entry in words.split("; "))
