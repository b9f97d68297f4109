"""What a model is said to be, and what it did when it was run: the ground of the rules about behaviour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from maskviz.core.checks.findings import Unasked
from maskviz.core.run.handover import HandedGroup
from maskviz.core.run.trace import Crossing, Trace
from maskviz.core.words import Backend


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """What a config and a class say.

    Attributes:
        architecture: The class.
        implementation: The attention implementation it runs with, such as "sdpa".
        attention_registered, mask_registered: Whether transformers has an attention function and a mask function of
            that name; both True for names of its own.
        predicts_next: Whether the class is one that predicts the next token and has no encoder.
        layer_types: What the config file names each layer, such as "sliding_attention"; empty where it does not.
        windows: Windows and chunks the config names, in tokens, by their names there.
        use_sliding_window: What the config file says of it, None where it says nothing.
        asks_weights: Whether the config asks for attention weights.
        reads: Arguments its forward takes by name; empty where it is not known.
        classes: How many values a label may have: those of the vocabulary, or of a token's class; None where labels are
            none of tokens.
        text_classes: How many values the label of a whole text may have; None where there is no such label.
        unused: Windows that the config names, by their names there, and that no layer has.
        unused_by: What in the config keeps the layers from having them, in words; "" where the code does not read them.
    """

    architecture: str
    implementation: str = "eager"
    attention_registered: bool = True
    mask_registered: bool = True
    predicts_next: bool = False
    layer_types: tuple[str, ...] = ()
    windows: Mapping[str, int] = field(default_factory=dict)
    use_sliding_window: bool | None = None
    asks_weights: bool = False
    reads: tuple[str, ...] = ()
    classes: int | None = None
    text_classes: int | None = None
    unused: Mapping[str, int] = field(default_factory=dict)
    unused_by: str = ""


@dataclass(frozen=True, slots=True)
class Tried:
    """A change that was tried, and what was left of the fault with it.

    Attributes:
        change: In words that are code where it is code, such as "~mask".
        left: The measure that was too large, again.
    """

    change: str
    left: float


@dataclass(frozen=True, slots=True)
class PaddedText:
    """What padding did to one text of a batch, over its real tokens. Differences are the largest of any output.

    Attributes:
        row: Row of the batch.
        left: Whether its padding comes first.
        alone: Between its outputs in the batch and alone, without padding.
        masked: The same with an attention mask that hides the padding, in company of the user's own where there is one;
            None where that one was passed anyway.
        counted: The same with an attention mask and positions that count real tokens; None where the model takes none.
        right: The same with its padding moved to the right; None where it is there, or positions can be passed.
        last: Token predicted at the last column, and at the last real token; None where nothing is predicted.
    """

    row: int
    left: bool
    alone: float
    masked: float | None = None
    counted: float | None = None
    right: float | None = None
    last: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Behaviour:
    """What runs of a model on a batch measured.

    Attributes:
        trace: The run as the batch is handed over.
        size: Largest absolute output of that run.
        rounding: Share of that size below which a difference is rounding.
        rounds: Whether the run that listens differs from the plain one by the rounding of 16 bits alone: the same
            weights in float32 do not.
        cached: Whether the model keeps a cache in that run.
        padded: The texts that have padding and could be run alone.
        earlier: Largest change of an output before a token of a text, the decoder's where there is one, when that token
            is changed: one that an earlier query may see, else the last; None where it was not asked.
        earlier_with: The same with a change that might put it right; the smallest change first.
        backend: The attention backend asked about, None where it has no name of transformers' own.
        handed: What that backend is handed.
        weights: Whether the model returns attention weights as its config asks; None where it does not ask.
        broken: Ids of padding tokens whose embeddings are not numbers.
        crossing: What crosses between packed texts, None where nothing is packed.
        crossed: Largest change of an output of a later text when the tokens of the first are others; None where nothing
            is packed, or it was not asked.
        separated_without_cache: Whether packed texts are separated with use_cache=False; None where not asked.
        names: Printable tokens of the ids that are predicted.
        plain: The run without the user's own mask, None where there is none.
        counted: Largest change of an output of a real token when positions are those that the user's mask says: the
            number of keys a token of a tree sees less one, or from 0 on in each block; None where it says none, or it
            was not asked.
        weighted: Whether the model has its weights.
        unasked: What this run could not be asked, and why.
        passes: Forward passes it took.
    """

    trace: Trace
    size: float = 1.0
    rounding: float = 1e-3
    rounds: bool = False
    cached: bool = True
    padded: tuple[PaddedText, ...] = ()
    earlier: float | None = None
    earlier_with: tuple[Tried, ...] = ()
    backend: Backend | None = None
    handed: tuple[HandedGroup, ...] = ()
    weights: bool | None = None
    broken: tuple[int, ...] = ()
    crossing: Crossing | None = None
    crossed: float | None = None
    separated_without_cache: bool | None = None
    names: Mapping[int, str] = field(default_factory=dict)
    plain: Trace | None = None
    counted: float | None = None
    weighted: bool = True
    unasked: tuple[Unasked, ...] = ()
    passes: int = 0

    def padded_text(self, row: int) -> PaddedText | None:
        """What padding did to a row; None where it has none, or was not run alone."""
        return next((one for one in self.padded if one.row == row), None)

    @property
    def noticeable(self) -> float:
        """The smallest difference of outputs that is more than rounding."""
        return self.rounding * max(1.0, self.size)

    @property
    def noticeable_alike(self) -> float:
        """The same for two runs of one shape, which round alike."""
        return self.noticeable / 100


@dataclass(frozen=True, slots=True)
class Ablated:
    """Logits of somebody's own ablation, held against the right one and against known mistakes.

    Attributes:
        name: The file.
        heads: The heads, as they were named.
        right: Largest difference to the outputs with those heads silenced before the output projection.
        plain: To the outputs with nothing silenced.
        after_projection: To those with slices of the projection's result set to zero; None where the class's
            projection is not known.
        in_turn: To those with query heads h of h % key heads silenced instead of the groups; None without groups.
        noticeable: The smallest difference that is more than rounding.
    """

    name: str
    heads: str
    right: float
    plain: float
    after_projection: float | None
    in_turn: float | None
    noticeable: float
