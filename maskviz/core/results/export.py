"""What came of writing a model without its silenced heads: what stayed, what it costs, and how fast it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Kept:
    """The heads of one attention module that stay.

    Attributes:
        module: Path of the module, as in `AttentionCall.module`.
        heads, key_heads: How many it had.
        query: Query heads that stay, in their order.
        key: Key heads that stay, in their order.
        zeroed: Those of `query` that are silenced: they stay for their shape alone, with zeroed output columns.
    """

    module: str
    heads: int
    key_heads: int
    query: tuple[int, ...]
    key: tuple[int, ...]
    zeroed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Cost:
    """What a model takes.

    Attributes:
        parameters: Of the whole model, shared ones once.
        attention_parameters: Of the query, key, value and output projections, biases included.
        flops_per_token: Floating-point operations of one forward, divided by the tokens of its text: 2 for each weight
            of a matrix product, and 2 x 2 x length x head size for the scores and the mixing of each head.
        weight_bytes: Of the parameters in their type.
    """

    parameters: int
    attention_parameters: int
    flops_per_token: float
    weight_bytes: int


@dataclass(frozen=True, slots=True)
class Spread:
    """Quartiles of repeated measurements."""

    low: float
    median: float
    high: float


@dataclass(frozen=True, slots=True)
class Speed:
    """One forward of both models, measured in turn.

    Attributes:
        batch, length: Texts, and tokens of each.
        rounds: How many times each ran.
        before, after: Milliseconds of one forward.
        ratio: After over before within each round: below 1 where the exported model is faster.
    """

    batch: int
    length: int
    rounds: int
    before: Spread
    after: Spread
    ratio: Spread


@dataclass(frozen=True, slots=True)
class Saving:
    """What two models take, side by side.

    Attributes:
        length: Tokens of the text that `flops_per_token` is counted on.
        before, after: What each takes.
        speeds: One for each batch size that was measured.
    """

    length: int
    before: Cost
    after: Cost
    speeds: tuple[Speed, ...] = ()


@dataclass(frozen=True, slots=True)
class Export:
    """A model written without its silenced heads.

    Attributes:
        folder: Where it lies.
        architecture: The class that loads it.
        needs_trust: Whether loading needs `trust_remote_code=True`, for the modelling file in the folder.
        kept: The heads that stay, by attention module.
        silenced: How many heads the mask silences.
        difference: Largest absolute difference of the folder's outputs, loaded back, and the masked model's, on real
            tokens; both with eager attention.
        output_size: Largest absolute output of the masked model, to read `difference` by.
        saving: What the model and the one in the folder take.
        file_bytes: Of the weight files in the folder.
        notes: What the reader must know.
    """

    folder: Path
    architecture: str
    needs_trust: bool
    kept: tuple[Kept, ...]
    silenced: int
    difference: float
    output_size: float
    saving: Saving
    file_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def removed(self) -> int:
        """How many query heads are gone."""
        return sum(one.heads - len(one.query) for one in self.kept)

    @property
    def zeroed(self) -> int:
        """How many silenced heads stay, with zeroed output columns."""
        return sum(len(one.zeroed) for one in self.kept)
