"""What a check looks at: the batch, the mask, the model and its runs, as they were given and measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray, sealed
from maskviz.core.rules.algebra import Rule
from maskviz.core.run.handover import HandedGroup
from maskviz.core.run.trace import Crossing, Trace
from maskviz.core.words import Backend, Dialect, Purpose

Row = tuple[int, ...]
# Names under which offsets of packed texts come.
OFFSETS = ("cu_seq_lens_q", "cu_seq_lens_k", "cu_seqlens", "cu_seqlens_q", "cu_seqlens_k")
# Positions of a row on several axes, such as time, height and width of pictures.
Axes = tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class GivenBatch:
    """Rows of ids and what came with them.

    Attributes:
        name: Where it is from: a file, or "" for the command line.
        ids: Token ids of each row.
        keep: The attention mask of each row as it was given, 1 = keep, 0 = padding; numbers above 1 are those of packed
            texts; None where there was none.
        position_ids, labels, token_types: Of each row as given, or None.
        position_axes: Positions of each row on several axes, or None; those on the first are in `position_ids` too.
        assistant: The mask of each row's tokens that an assistant wrote, 1 = its own, or None.
        others: Names of what else the rows have a number of for each token.
        text_labels: A label of each whole text, or None; NaN where it is no whole number, as scores are.
        offsets: Where each packed text starts, and the end of the last, as flash attention takes them, by name.
        booleans: Names of parts that are true and false where whole numbers are meant.
        decoder_ids, decoder_keep: The decoder's rows and their mask, or None.
        lines: Line of the file each row is from, from 1; empty where there is no file.
        pad_id, eos_id: The tokenizer's or the config's, or None.
        first_id: The id the tokenizer puts in front of a text (bos or cls), or None.
        specials: Special tokens the tokenizer puts around one text, or None.
    """

    ids: tuple[Row, ...]
    keep: tuple[Row | None, ...]
    name: str = ""
    position_ids: tuple[Row | None, ...] = ()
    labels: tuple[Row | None, ...] = ()
    token_types: tuple[Row | None, ...] = ()
    position_axes: tuple[Axes | None, ...] = ()
    text_labels: tuple[float | None, ...] = ()
    assistant: tuple[Row | None, ...] = ()
    others: tuple[str, ...] = ()
    offsets: tuple[tuple[str, Row], ...] = ()
    booleans: tuple[str, ...] = ()
    decoder_ids: tuple[Row, ...] = ()
    decoder_keep: tuple[Row | None, ...] = ()
    lines: tuple[int, ...] = ()
    pad_id: int | None = None
    eos_id: int | None = None
    first_id: int | None = None
    specials: int | None = None

    def kept(self, row: int) -> Row:
        """Which tokens of a row are no padding, 1 = none: by its mask, else by padding ids at its ends."""
        keep = self.keep[row]
        return keep if keep is not None else tuple(int(not end) for end in self.ends(row))

    def ends(self, row: int) -> list[bool]:
        """Whether each token of a row is padding by its id: at an end of the row, and more than a single one where the
        id is that of a text's end or beginning too. A row of nothing else has none."""
        ids, pad = self.ids[row], self.pad_id
        if pad is None:
            return [False] * len(ids)
        ends = ends_of(ids, pad)
        if all(ends):
            return [False] * len(ids)
        if pad in (self.eos_id, self.first_id):
            first, last = ends.index(False), len(ends) - 1 - ends[::-1].index(False)
            if first == 1:
                ends[0] = False
            if last == len(ends) - 2:
                ends[-1] = False
        return ends

    def restarts(self, row: int) -> bool:
        """Whether the positions of a row start anew behind its first token, as those of packed texts do."""
        positions = self.position_ids[row] if row < len(self.position_ids) else None
        if positions is None:
            return False
        return any(one == 0 and before > 0 for before, one in pairwise(positions))


def ends_of(ids: Row, pad: int) -> list[bool]:
    """Whether each id is padding at an end of its row."""
    text = np.array([token != pad for token in ids], dtype=np.bool_)
    inside = np.maximum.accumulate(text) & np.maximum.accumulate(text[::-1])[::-1]
    return [not one for one in inside.tolist()]


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a mask is to fit; None where it is not known.

    Attributes:
        batch: Rows of the batch.
        heads: Query heads.
        queries, keys: Tokens that ask, and tokens that may be looked at.
        window: Keys a query is meant to see at most, its own included.
    """

    batch: int | None = None
    heads: int | None = None
    queries: int | None = None
    keys: int | None = None
    window: int | None = None


@dataclass(frozen=True, slots=True)
class Trial:
    """What a framework's own attention made of a mask, on random queries, keys and values.

    Attributes:
        leaked: Largest share in [0, 1] of a query's attention, over all rows and heads, on cells the mask means to
            block; None where the weights could not be seen or nothing is known of what is meant.
        not_numbers: Queries whose output is not a number.
        differs: Largest difference between the output with weights asked for and without, NaN where one alone is not a
            number; None where the framework has no such choice.
        refused: What the framework said where it raised; "" where it did not.
    """

    leaked: float | None = None
    not_numbers: int = 0
    differs: float | None = None
    refused: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class GivenArray:
    """A mask file as it was given.

    Attributes:
        name: The file.
        values: The array, any shape; 16-bit floats of torch widened to float32.
        dtype: Its type as stored, such as "bool", "float32", "bfloat16".
        dialect: How it is to be read.
        sizes: What it is to fit.
        run_dtype: The type the model computes in, where it is known, such as "float16"; else "".
        visible: bool [batch or 1, head or 1, query or 1, key], True = may attend, as its dialect reads it; None
            where it cannot be read so.
        unreadable: Why it cannot; "" where it can.
        trial: What the dialect's framework makes of it; None where it was not tried.
    """

    name: str
    values: AnyArray
    dtype: str
    dialect: Dialect
    sizes: Sizes = Sizes()
    run_dtype: str = ""
    visible: BoolArray | None = None
    unreadable: str = ""
    trial: Trial | None = None

    def __post_init__(self) -> None:
        values = np.asarray(self.values)
        object.__setattr__(self, "values", sealed(values, values.dtype))
        if self.visible is not None:
            object.__setattr__(self, "visible", sealed(self.visible, np.bool_))


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
        own: Whether it is a module of the user's own, whose code they can change.
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
    own: bool = False


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


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """What a check is about.

    Attributes:
        array: A mask file, alone or in a batch's company.
        batch: A batch as it was given.
        purpose: What the batch is for; None where nobody said.
        model: What the model is said to be.
        run: What it did.
        ablated: Logits of somebody's own ablation.
        meant: The mask that is meant, in the words of rules; None where nobody said.
    """

    array: GivenArray | None = None
    batch: GivenBatch | None = None
    purpose: Purpose | None = None
    model: ModelFacts | None = None
    run: Behaviour | None = None
    ablated: Ablated | None = None
    meant: Rule | None = None


@dataclass(frozen=True, slots=True)
class Unasked:
    """Rules that a check could not ask.

    Attributes:
        traps: Ids, in the order of the traps.
        reason: What is missing, such as "no mask file is given".
    """

    traps: tuple[str, ...]
    reason: str
