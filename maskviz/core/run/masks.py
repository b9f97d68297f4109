"""What one attention call was allowed to see, and why not the rest."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from maskviz.core.arrays import BoolArray, ByteArray, FloatArray, sealed
from maskviz.core.rules.algebra import Grid, Rule
from maskviz.core.rules.reasons import Reason


class Delivery(StrEnum):
    """How the model handed its mask to the attention call."""

    BOOLEAN = "boolean"
    ADDITIVE = "additive float"
    FLAG = "is_causal flag"
    NOTHING = "nothing"
    WEIGHTS = "read off the weights"


@dataclass(frozen=True, slots=True, eq=False)
class Mask:
    """The mask of one attention call: the claim (`rule`) beside the evidence (`visible`).

    Attributes:
        visible: bool [batch, 1 or head, query, key], True = the query may attend to the key.
        reasons: uint8 bits of `Reason`, same shape, 0 where visible.
        rule: The rule in force, `Opaque` where it could not be read.
        bias: float32 [batch or 1, head or 1, query, key] added to the scores (T5's relative positions), or None.
        query_offset: Position of the first query: the number of cached tokens before it.
        delivery: How the model handed the mask over.
    """

    visible: BoolArray
    reasons: ByteArray
    rule: Rule
    bias: FloatArray | None = None
    query_offset: int = 0
    delivery: Delivery = Delivery.ADDITIVE

    def __post_init__(self) -> None:
        visible, reasons = sealed(self.visible, np.bool_), sealed(self.reasons, np.uint8)
        if visible.ndim != 4:
            raise ValueError(f"visible must be [batch, 1 or head, query, key], got shape {visible.shape}")
        if reasons.shape != visible.shape:
            raise ValueError(f"reasons have shape {reasons.shape}, visible has {visible.shape}")
        if not np.array_equal(reasons == 0, visible):
            raise ValueError("every blocked cell needs a reason, and no visible cell may have one")
        object.__setattr__(self, "visible", visible)
        object.__setattr__(self, "reasons", reasons)
        if self.bias is not None:
            object.__setattr__(self, "bias", sealed(self.bias, np.float32))

    @classmethod
    def explained(
        cls,
        visible: BoolArray,
        rule: Rule,
        *,
        bias: FloatArray | None = None,
        query_offset: int = 0,
        delivery: Delivery = Delivery.ADDITIVE,
        otherwise: Reason = Reason.OTHER,
    ) -> Mask:
        """A mask whose reasons follow from its rule; what no readable part of it blocks is blocked for `otherwise`."""
        batch, _, queries, keys = visible.shape
        at = Grid.of(batch, queries, keys, query_offset)

        reasons = np.broadcast_to(rule.reasons(at), visible.shape)
        reasons = np.where(visible, 0, np.where(reasons == 0, int(otherwise), reasons))
        return cls(visible, sealed(reasons, np.uint8), rule, bias, query_offset, delivery)

    @property
    def grid(self) -> Grid:
        """The positions this mask covers."""
        batch, _, queries, keys = self.visible.shape
        return Grid.of(batch, queries, keys, self.query_offset)

    @property
    def agrees(self) -> bool | None:
        """Whether the rule, evaluated, is exactly `visible`; None where the rule cannot be read."""
        if not self.rule.readable:
            return None
        return bool((self.rule.visible(self.grid) == self.visible).all())

    def same_as(self, other: Mask) -> bool:
        """Whether both show the same cells for the same rule and reasons."""
        return self is other or (
            self.query_offset == other.query_offset
            and self.rule == other.rule
            and np.array_equal(self.reasons, other.reasons)
        )
