"""What a run is: its batch, its calls of attention, what it put out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from maskviz.core.arrays import BoolArray, ByteArray, FloatArray, IntArray, sealed
from maskviz.core.rules.algebra import Grid, Opaque, Rule
from maskviz.core.rules.reasons import Reason
from maskviz.core.run.heads import HeadMask
from maskviz.core.words import Role, Stack


class Delivery(StrEnum):
    """How the model handed its mask to the attention call."""

    BOOLEAN = "boolean"
    ADDITIVE = "additive float"
    FLAG = "is_causal flag"
    NOTHING = "nothing"
    WEIGHTS = "read off the weights"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        return f"<Mask: {self.rule}, {' x '.join(map(str, self.visible.shape))}>"

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


# The id of a token of which nothing is known but that it is there: in a cache that somebody else filled, or embedded.
UNKNOWN = -1


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Batch:
    """A padded batch of token rows, and the decoder's rows where the model has a decoder of its own.

    Attributes:
        ids: int64 [batch, token]; `UNKNOWN` where nobody knows them.
        keep: bool [batch, token], False = padding.
        tokens: Printable token strings, [batch][token].
        roles: What each token is, [batch][token].
        texts: The texts the rows were made of, as given ("" where the ids were given).
        token_types: int64 [batch, token] segment ids, or None.
        position_ids: int64 [batch, token] as passed to the model, or None for a plain call.
        documents: int64 [batch, token], the text a token belongs to, from 0, where texts are packed into one row; else
            None.
        decoder: The decoder's side, or None.
    """

    ids: IntArray
    keep: BoolArray
    tokens: tuple[tuple[str, ...], ...]
    roles: tuple[tuple[Role, ...], ...]
    texts: tuple[str, ...] = ()
    token_types: IntArray | None = None
    position_ids: IntArray | None = None
    documents: IntArray | None = None
    decoder: Batch | None = None

    def __repr__(self) -> str:
        return f"<Batch: {self.rows} x {self.length} tokens>"

    def __post_init__(self) -> None:
        object.__setattr__(self, "ids", sealed(self.ids, np.int64))
        object.__setattr__(self, "keep", sealed(self.keep, np.bool_))
        for name in ("token_types", "position_ids", "documents"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, sealed(value, np.int64))
        shape = self.ids.shape
        if self.ids.ndim != 2 or self.keep.shape != shape:
            raise ValueError(f"ids {shape} and keep {self.keep.shape} must both be [batch, token]")
        if self.documents is not None and self.documents.shape != shape:
            raise ValueError(f"documents {self.documents.shape} must be [batch, token] as the ids {shape}")
        for name, rows in (("tokens", self.tokens), ("roles", self.roles)):
            if len(rows) != shape[0] or any(len(row) != shape[1] for row in rows):
                raise ValueError(f"{name} must have one entry per id, {shape[0]} rows of {shape[1]}")

    @property
    def rows(self) -> int:
        """Number of texts."""
        return int(self.ids.shape[0])

    @property
    def length(self) -> int:
        """Tokens in a row, padding included."""
        return int(self.ids.shape[1])


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a model is, as far as its config says it without building it.

    Attributes:
        name: As the user wrote it.
        architecture: The class that ran or would run.
        model_type: The config's `model_type`.
        encoder_decoder: Whether it has an encoder and a decoder.
        layers: Layers per stack; for an encoder-decoder in the order encoder, decoder.
        heads: Query heads per layer, same order as `layers`.
        key_heads: Key heads per layer, same order; fewer than `heads` under grouped-query attention.
        hidden_size: Width of the residual stream, or None where the config does not say.
        vocabulary: Size of the vocabulary, or None.
        positions: Longest input the positions allow, or None.
        attention: What the config calls each layer of the (first) stack, in the words that begin with `FULL`, `SLIDING`
            or `CHUNKS`, such as "sliding window 4096", or others.
        parameters: Number of parameters, 0 where the weights were not loaded.
        dtype, device: Of the weights in this run, empty where they were not loaded.
        note: What a reader must know before trusting a picture, such as "demo model"; may be empty.
    """

    name: str
    architecture: str
    model_type: str
    encoder_decoder: bool
    layers: tuple[int, ...]
    heads: tuple[int, ...]
    key_heads: tuple[int, ...]
    hidden_size: int | None = None
    vocabulary: int | None = None
    positions: int | None = None
    attention: tuple[str, ...] = ()
    parameters: int = 0
    dtype: str = ""
    device: str = ""
    note: str = ""

    def calls_local(self, layer: int) -> bool | None:
        """Whether the config calls a layer local, with a window or in chunks, or full; None where it says neither."""
        words = self.attention[layer] if layer < len(self.attention) else ""
        if words == FULL:
            return False
        return True if words.startswith((SLIDING, CHUNKS)) else None


FULL, SLIDING, CHUNKS = "full", "sliding window", "chunks of"


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class AttentionCall:
    """One attention of one layer, as it ran.

    Attributes:
        stack: Which attention of the model.
        layer: Layer within the stack, from 0.
        module: Path of the module that ran it, such as `model.layers.3.self_attn`.
        heads: Query heads.
        key_heads: Key heads; query head h reads key head `h // (heads // key_heads)`.
        mask: What it was allowed to see; calls that received the same mask share the object.
        pattern: float32 [batch, head, query, key] after softmax and before any head gate, or None.
    """

    stack: Stack
    layer: int
    module: str
    heads: int
    key_heads: int
    mask: Mask
    pattern: FloatArray | None = None

    def __repr__(self) -> str:
        return f"<AttentionCall: {self.stack} layer {self.layer}, {self.heads} heads, {self.mask.rule}>"

    def __post_init__(self) -> None:
        if self.pattern is None:
            return
        pattern = sealed(self.pattern, np.float32)
        batch, masks, queries, keys = self.mask.visible.shape
        if pattern.shape != (batch, self.heads, queries, keys) or masks not in (1, self.heads):
            raise ValueError(
                f"{self.module}: pattern {pattern.shape} does not fit {self.heads} heads "
                f"and a mask of {self.mask.visible.shape}"
            )
        object.__setattr__(self, "pattern", pattern)


@dataclass(frozen=True, slots=True)
class SilentLayer:
    """A layer that ran and has no mask to show.

    Attributes:
        stack, layer: Which layer.
        module: Path of the module that mixes its tokens, or of the whole layer.
        kind: What it is instead, such as "state space" or "linear attention"; `FEED_FORWARD`; `CONTENT` where it has
            a mask that only the weights could tell; "" where nothing is known but that no attention was heard.
        name: Class of that module.
    """

    stack: Stack
    layer: int
    module: str
    kind: str
    name: str = ""

    @property
    def mixes(self) -> bool:
        """Whether what one token becomes may depend on another."""
        return self.kind != FEED_FORWARD


CONTENT = "depends on content"
FEED_FORWARD = "feed forward, mixes no tokens"


class OutputKind(StrEnum):
    """What a model's outputs say."""

    CAUSAL_LM = "next token"
    MASKED_LM = "masked token"
    CLASSES = "classes"
    LABELS = "independent labels"
    SCORE = "score"
    HIDDEN = "hidden states"


@dataclass(frozen=True, slots=True, eq=False)
class Outputs:
    """What a run put out, kept small: full logits only where a reader looks.

    Attributes:
        kind: What the logits mean.
        places: int64 [place, 2], (row, position) of each read-out: the last real token of a causal model,
            every mask token of a masked one, every real token of a token classifier; position -1 for a whole row's
            classes. Empty for HIDDEN.
        logits: float32 [place, vocabulary or class].
        labels: Names of the classes, empty for vocabularies.
        hidden: float32 [batch, token, width], last hidden states where there are no logits, else None.
        token_loss: float32 [batch, token], natural-log loss of predicting that token; NaN where there is none.
    """

    kind: OutputKind
    places: IntArray
    logits: FloatArray
    labels: tuple[str, ...] = ()
    hidden: FloatArray | None = None
    token_loss: FloatArray | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "places", sealed(self.places, np.int64).reshape(-1, 2))
        for name in ("logits", "hidden", "token_loss"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, sealed(value, np.float32))


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """One forward pass.

    Attributes:
        card: The model.
        batch: What went in.
        calls: Every attention call, in the order they ran.
        silent: Layers without a mask to show, and what they are.
        outputs: What came out, or None where nothing was kept (a saved run).
        head_mask: The gates in force, or None.
        drift: Largest absolute difference on real tokens between the outputs of this captured run and of a
            plain one under the model's own attention implementation; None where no plain run was made.
        plain_attention: The attention implementation of that plain run, such as "sdpa"; empty without one.
        notes: Sentences the reader must see next to the pictures.
        rounding: In 16 bits, how far the plain run's outputs are from those of the same weights in float32; two ways to
            compute in 16 bits may be twice as far from each other. None where it was not asked.
        own_masks: Whether masks are those of the implementation the model runs, where eager attention takes others.
        doubted: Whether listening moved the outputs by more than rounding, so that a note says not to rely on the run.
    """

    card: ModelCard
    batch: Batch
    calls: tuple[AttentionCall, ...]
    outputs: Outputs | None = None
    head_mask: HeadMask | None = None
    drift: float | None = None
    plain_attention: str = ""
    notes: tuple[str, ...] = ()
    silent: tuple[SilentLayer, ...] = ()
    rounding: float | None = None
    own_masks: bool = False
    doubted: bool = False

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """The stacks that ran, in order."""
        return tuple(dict.fromkeys(call.stack for call in self.calls))

    def of_stack(self, stack: Stack) -> tuple[AttentionCall, ...]:
        """The calls of one stack, in order."""
        return tuple(call for call in self.calls if call.stack is stack)

    def sides(self, call: AttentionCall) -> tuple[Batch, Batch]:
        """The batches a call's queries and keys are tokens of."""
        if call.stack is Stack.ENCODER or self.batch.decoder is None:
            return self.batch, self.batch
        return self.batch.decoder, self.batch if call.stack is Stack.CROSS else self.batch.decoder

    def distinct_masks(self) -> Iterator[tuple[Mask, tuple[AttentionCall, ...]]]:
        """Each different mask with the calls that share it, per stack, in the order they first ran."""
        groups: list[list[AttentionCall]] = []
        for call in self.calls:
            for group in groups:
                if group[0].stack is call.stack and group[0].mask.same_as(call.mask):
                    group.append(call)
                    break
            else:
                groups.append([call])
        for group in groups:
            yield group[0].mask, tuple(group)

    def misnamed(self) -> dict[str, tuple[AttentionCall, ...]]:
        """The calls whose mask was made by a function of another name than what it does, by what it is called."""
        found: dict[str, list[AttentionCall]] = {}
        for call in self.calls:
            for claimed in {leaf.claimed for leaf in call.mask.rule.leaves() if isinstance(leaf, Opaque)} - {""}:
                found.setdefault(claimed, []).append(call)
        return {claimed: tuple(calls) for claimed, calls in found.items()}

    def real_queries(self, call: AttentionCall) -> BoolArray:
        """bool [batch, query], False where the query is padding and its row has no meaning."""
        side = self.sides(call)[0]
        queries = call.mask.visible.shape[2]
        if side.length == queries + call.mask.query_offset:
            return side.keep[:, call.mask.query_offset :]
        return np.ones((side.rows, queries), dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class Crossing:
    """What crosses from one packed text to another.

    Attributes:
        cells: Visible cells whose query and key are real tokens of different texts, over all calls.
        attention: For each text the share in [0, 1] of its attention that falls on other texts, as the mean over its
            queries, all heads and all calls; empty where no call has attention.
    """

    cells: int
    attention: tuple[float, ...]

    @property
    def separated(self) -> bool:
        """Whether no text may see another, and none does."""
        return self.cells == 0 and not any(self.attention)


def crossing_of(trace: Trace) -> Crossing | None:
    """Measure what crosses between the texts of a packed row; None where nothing is packed."""
    documents = trace.batch.documents
    if documents is None:
        return None
    real = trace.batch.keep
    apart = documents[:, :, None] != documents[:, None, :]
    other = (apart & real[:, :, None] & real[:, None, :])[:, None]  # [batch, 1, query, key]
    calls = [call for call in trace.calls if call.mask.visible.shape[2:] == other.shape[2:]]
    cells = sum(int((call.mask.visible & other).sum()) for call in calls)
    # [batch, query]: the mean over heads of what a query gives to other texts, one for each call
    given = [np.where(other, call.pattern, 0).sum(-1).mean(1) for call in calls if call.pattern is not None]
    if not given:
        return Crossing(cells, ())
    mean = np.stack(given).mean(axis=0, dtype=np.float64)
    texts = np.unique(documents[real])
    return Crossing(cells, tuple(float(mean[(documents == text) & real].mean()) for text in texts))
