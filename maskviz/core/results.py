"""What analyses return."""

from __future__ import annotations

from dataclasses import dataclass

from maskviz.core.arrays import FloatArray
from maskviz.core.trace import AttentionCall, OutputKind


@dataclass(frozen=True, slots=True)
class Candidate:
    """One token or class with its probability before and after, or one score."""

    index: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class PlaceDiff:
    """How the prediction at one place moved.

    Attributes:
        row: Row of the batch.
        position: Token position, -1 for a whole row's classes.
        candidates: The most probable tokens or classes of either run, by the larger probability.
        divergence: Kullback-Leibler divergence of after from before, in nats; None where there is no distribution.
        flipped: Whether the most probable one changed.
    """

    row: int
    position: int
    candidates: tuple[Candidate, ...]
    divergence: float | None
    flipped: bool


@dataclass(frozen=True, slots=True)
class LossDiff:
    """Mean loss per predicted token of one text, in nats."""

    row: int
    tokens: int
    before: float
    after: float


@dataclass(frozen=True, slots=True)
class HiddenDiff:
    """How the last hidden states of one text moved, over its real tokens.

    Attributes:
        row: Row of the batch.
        cosine: Mean cosine between the hidden states before and after.
        relative_norm: Mean norm of the change, relative to the norm before.
    """

    row: int
    cosine: float
    relative_norm: float


@dataclass(frozen=True, slots=True, eq=False)
class PatternDiff:
    """How far one call's attention moved.

    Attributes:
        call: The call, of the run after.
        moved: float32 [head], mean over real queries of the total variation distance, half of the sum over keys
            of |after - before|, in [0, 1].
    """

    call: AttentionCall
    moved: FloatArray


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Two runs of one batch, before and after.

    Attributes:
        kind: What the outputs mean, None where they were not compared.
        labels: Names of classes, empty for vocabularies.
        places: How each prediction moved.
        losses: Loss of each text, empty where the model predicts no text.
        hidden: Change of hidden states, empty where the model has logits.
        patterns: Change of attention, in the order of the calls.
    """

    kind: OutputKind | None
    labels: tuple[str, ...]
    places: tuple[PlaceDiff, ...]
    losses: tuple[LossDiff, ...]
    hidden: tuple[HiddenDiff, ...]
    patterns: tuple[PatternDiff, ...]
