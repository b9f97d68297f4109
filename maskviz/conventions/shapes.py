"""A shape that a dialect does not have."""

from __future__ import annotations

from maskviz.core.arrays import AnyArray
from maskviz.core.checks.dialects import CONVENTIONS
from maskviz.core.errors import UsageError
from maskviz.core.words import Dialect

_BY_AXES = {
    1: "one axis: cu-seqlens, head-mask",
    2: "two axes: hf-2d, torch-padding, torch-mha, sdpa, sequence-numbers, head-mask",
    3: "three axes: keras, torch-mha",
    4: "four axes: hf-4d, sdpa, flex, flax",
}


def wrong_shape(values: AnyArray, dialect: Dialect) -> UsageError:
    """The error to raise, naming the dialects such a shape may be."""
    hint = _BY_AXES.get(values.ndim, "no mask has as many axes, or none")
    return UsageError(f"{dialect} is {CONVENTIONS[dialect].axes}, and this mask is {list(values.shape)}", hint)
