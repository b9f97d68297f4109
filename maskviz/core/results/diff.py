"""Two masks, or two runs, beside each other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from maskviz.core.arrays import BoolArray, ByteArray, sealed
from maskviz.core.results.results import Comparison
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.trace import AttentionCall, Mask, Trace


class CellIn(IntEnum):
    """Which of two masks, A and B, lets a query see a key."""

    NEITHER = 0
    ONLY_A = 1
    ONLY_B = 2
    BOTH = 3


@dataclass(frozen=True, slots=True, eq=False)
class MaskDiff:
    """Two masks of one shape, of calls that differ in the same way.

    Attributes:
        calls_a, calls_b: The calls they are masks of; empty for masks that are files.
        masks: Both masks, the first of each side's calls; None for masks that are files.
        codes: uint8 [batch, head, query, key], a `CellIn` each; of one head where no mask differs between heads.
        real: bool [batch, query], False for queries that are padding in A or B; they are not counted.
        why_a: Cells that only A lets through, by the reasons B has to block them; a cell may have several.
        why_b: Cells that only B lets through, by the reasons of A.
        mass_a: Share in [0, 1] of A's attention, over real queries and heads, on cells that only A lets through; None
            where A has no attention.
        mass_b: The same of B.
    """

    calls_a: tuple[AttentionCall, ...]
    calls_b: tuple[AttentionCall, ...]
    masks: tuple[Mask, Mask] | None
    codes: ByteArray
    real: BoolArray
    why_a: dict[Reason, int]
    why_b: dict[Reason, int]
    mass_a: float | None = None
    mass_b: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "codes", sealed(self.codes, np.uint8))
        object.__setattr__(self, "real", sealed(self.real, np.bool_))
        batch, _, queries, _ = self.codes.shape
        if self.real.shape != (batch, queries):
            raise ValueError(f"real {self.real.shape} does not fit codes {self.codes.shape}")

    def count(self, shown: CellIn) -> int:
        """Cells of a kind on rows of real queries."""
        return int(((self.codes == shown) & self.real[:, None, :, None]).sum())

    @property
    def differs(self) -> bool:
        """Whether a cell of a real query differs."""
        return self.count(CellIn.ONLY_A) + self.count(CellIn.ONLY_B) > 0


@dataclass(frozen=True, slots=True)
class OutputChange:
    """The outputs of B beside those of A, at real tokens.

    Attributes:
        largest: Largest absolute difference of two numbers; NaN where one of them is none.
        predictions: How many tokens, or texts, something is predicted for; 0 where nothing is.
        flipped: Of how many of them the likeliest prediction differs.
        mean_divergence, largest_divergence: Kullback-Leibler divergence of B from A over the predictions, in nats.
    """

    largest: float
    predictions: int = 0
    flipped: int = 0
    mean_divergence: float = 0.0
    largest_divergence: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class RunDiff:
    """Two runs of the same tokens, or two mask files.

    Attributes:
        names: What A and B are.
        masks: Their masks, by calls that differ in the same way.
        runs: Both runs; None for files.
        unpaired: Masks that only one has, a sentence each.
        notes: What else there is to know, a sentence each.
        change: How B's attention and outputs differ from A's, A before and B after; None where that is not known.
        outputs: How their outputs differ, or None.
    """

    names: tuple[str, str]
    masks: tuple[MaskDiff, ...]
    runs: tuple[Trace, Trace] | None = None
    unpaired: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    change: Comparison | None = None
    outputs: OutputChange | None = None

    @property
    def differs(self) -> bool:
        """Whether a mask differs, or only one side has it."""
        return bool(self.unpaired) or any(mask.differs for mask in self.masks)
