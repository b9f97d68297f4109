"""What analyses return."""

from __future__ import annotations

from dataclasses import dataclass

from maskviz.core.arrays import FloatArray, IntArray
from maskviz.core.rules.algebra import Rule
from maskviz.core.rules.extents import Lengths
from maskviz.core.rules.folding import CellCount
from maskviz.core.run.trace import AttentionCall, OutputKind


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


@dataclass(frozen=True, slots=True, eq=False)
class CallProof:
    """What a model does in one attention call, beside its mask.

    Attributes:
        call: The call.
        differs: int64 [cell, 4], (batch, key head or head, query, key) of cells on real query rows where the value's
            gradient is zero and the mask says visible, or the other way round; None where there was none to take.
        note: Why there was none.
        too_small: Visible cells whose weight is zero in the model's own number type: they say nothing.
    """

    call: AttentionCall
    differs: IntArray | None
    note: str = ""
    too_small: int = 0

    @property
    def proven(self) -> bool | None:
        """Whether every cell is as the mask says; None where it could not be asked."""
        return None if self.differs is None else not len(self.differs)


@dataclass(frozen=True, slots=True)
class FutureProof:
    """Whether a causal model keeps the future from the past.

    Attributes:
        moved: Largest change of an output before the last token, when that token is changed.
        proven: Whether it is no more than rounding.
    """

    moved: float
    proven: bool


@dataclass(frozen=True, slots=True)
class Proof:
    """The behaviour of a traced model beside its masks.

    Attributes:
        calls: One for each call of the trace, in order.
        future: For a causal model, whether the future stays hidden; None for any other.
    """

    calls: tuple[CallProof, ...]
    future: FutureProof | None

    @property
    def proven(self) -> bool:
        """Whether nothing was found that is not as the masks say."""
        return all(call.proven is not False for call in self.calls) and (self.future is None or self.future.proven)


@dataclass(frozen=True, slots=True)
class MaskSet:
    """The different masks of a model's layers, as rules without padding, which say them at any length.

    Attributes:
        name: The model, or its type.
        stacks: The different rules by stack; a model of one stack calls it "self".
        others: What its layers without an attention matrix are, such as "state space"; empty where there are none.
        until: The longest text the rules are known for; None where they hold for every one.
    """

    name: str
    stacks: dict[str, tuple[Rule, ...]]
    others: tuple[str, ...] = ()
    until: int | None = None


@dataclass(frozen=True, slots=True)
class LookAlike:
    """A model type whose masks look the same at some length.

    Attributes:
        masks: Its masks.
        until: The last length at which they look the same; None where they do at every longer one.
    """

    masks: MaskSet
    until: int | None


@dataclass(frozen=True, slots=True)
class Likeness:
    """The types of a catalogue whose masks look the same as a model's.

    Attributes:
        length: Tokens in a text, all of them real.
        alike: The types, in the order of the catalogue.
        known: How many types the catalogue has.
        release: The transformers release whose default configs it was made from.
    """

    length: int
    alike: tuple[LookAlike, ...]
    known: int
    release: str


@dataclass(frozen=True, slots=True)
class BlockCount:
    """Blocks of a mask, as a block-sparse kernel meets them.

    Attributes:
        side: Tokens along a side of a block.
        full: Blocks of which every cell is visible; one that reaches beyond the end of the text is none.
        partial: Other blocks with a visible cell.
        empty: Blocks without one.
    """

    side: int
    full: int
    partial: int
    empty: int

    @property
    def cells(self) -> int:
        """Cells of the blocks that are computed, those beyond the end of the text among them."""
        return (self.full + self.partial) * self.side**2


@dataclass(frozen=True, slots=True)
class MaskCost:
    """What attention under one rule costs.

    Attributes:
        rule: The rule.
        size: Queries and keys.
        count: Its cells, exactly.
        blocks: Its blocks.
    """

    rule: Rule
    size: Lengths
    count: CellCount
    blocks: BlockCount

    @property
    def square(self) -> int:
        """Cells of every query, padding or not."""
        return self.size.queries * self.size.keys

    @property
    def sparsity(self) -> float:
        """Percentage of the square that a block-sparse kernel leaves out, as FlexAttention's `BlockMask.sparsity()`.

        Below zero for a text much shorter than its blocks.
        """
        return 100 * (1 - self.blocks.cells / self.square)


@dataclass(frozen=True, slots=True)
class HeadSize:
    """The heads whose operations are counted.

    Attributes:
        heads: Query heads of a layer.
        width: Width of a head, of its queries, keys and values alike.
    """

    heads: int
    width: int

    def operations(self, cells: int) -> int:
        """Floating-point operations of one layer on so many cells: a multiplication and an addition for each number of
        a head, once for QKᵀ and once for PV. The softmax is not counted."""
        return 2 * 2 * self.heads * self.width * cells


@dataclass(frozen=True, slots=True)
class RuledLayers:
    """Layers that share a rule, at a length at which nobody runs them.

    Attributes:
        name: Which layers, such as "layers 0-3"; empty where the rule belongs to no model.
        layers: How many attentions there are of it.
        cost: What each of them costs.
        heads: Their heads; None where they are not known.
    """

    name: str
    layers: int
    cost: MaskCost
    heads: HeadSize | None


@dataclass(frozen=True, slots=True)
class Ruled:
    """Rules at a length at which nobody runs them.

    Attributes:
        name: The model; empty where the rule was typed.
        about: The model in a line; empty where there is none.
        layers: One for each rule.
        untold: What could not be told, a sentence each.
        notes: What else there is to know, a sentence each.
    """

    name: str
    about: str
    layers: tuple[RuledLayers, ...]
    untold: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
