"""What was heard of a module becomes a Trace: its sides, its stacks, the masks with their reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from maskviz.core.arrays import BoolArray, Content, IntArray
from maskviz.core.checks.intended import at_one_end
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.rules.algebra import Opaque, Rule, all_of
from maskviz.core.rules.kinds import Padding
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.recognise import recognise
from maskviz.core.run.trace import UNKNOWN, AttentionCall, Batch, Mask, ModelCard, Trace
from maskviz.core.words import Role, Stack
from maskviz.core.writing import parameter, plural
from maskviz.tracing.meaning.hearing import block_of, half_of, layers_of
from maskviz.tracing.modules.axes import LaidOut, Said, is_cross, laid_out, rows_of
from maskviz.tracing.modules.heard import Hearing

Labels = Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What is known of a run beside what was heard.

    Attributes:
        card: What the module is; its layers and heads are those that were heard.
        leading: The first axis of the first input that has several, or None.
        ids: Integer inputs [batch, token], in the order of the forward.
        said: What the user says of axes.
        labels: Names of the positions, [batch][position], or one row for all; None for numbers.
        target_labels: The same of the decoder's side.
        tokens: What ids are called, where a tokenizer says it: strings [batch][token] for `ids`, in order.
        texts: What the rows are made of, or none.
        virtual: Tokens of an adapter's own in front of every row; the ids are of what stands behind them.
        pads: Ids that are padding at an end of a row, where no mask says what is.
    """

    card: ModelCard
    leading: int | None = None
    ids: tuple[IntArray, ...] = ()
    said: Said = field(default_factory=Said)
    labels: Labels | None = None
    target_labels: Labels | None = None
    tokens: tuple[Labels, ...] = ()
    texts: tuple[str, ...] = ()
    virtual: int = 0
    pads: frozenset[int] = frozenset()


def trace_of(hearing: Hearing, known: Known) -> Trace:
    """A trace of what one pass left behind; its calls stand in the order they were heard.

    Raises:
        CannotTraceError: nothing was heard, or its axes cannot be told.
        UsageError: labels that fit no side.
    """
    if not hearing.calls:
        raise _unheard(hearing, known.card)
    laid = laid_out_calls(hearing, known)
    rows = laid[0].pattern.shape[0]
    stacks = stacks_of([_standing(one) for one in laid])
    batch = _batch(laid, stacks, known, rows)
    masks = _masks(laid, stacks)
    batch = _with_padding(batch, laid, stacks, masks)
    batch = padded_by_ids(batch, known.pads)
    layers = layers_of([one.call.module for one in laid], stacks, _counts(stacks))
    calls = tuple(
        AttentionCall(stack, layer, one.call.module, one.pattern.shape[1], one.key_heads, mask, one.pattern)
        for one, stack, layer, mask in zip(laid, stacks, layers, masks, strict=True)
    )
    notes = _notes(laid)
    return Trace(_counted(known.card, calls), batch, calls, notes=notes)


def laid_out_calls(hearing: Hearing, known: Known) -> list[LaidOut]:
    """What was heard with its axes in order, in the order it was heard; raises as `trace_of`."""
    rows = rows_of(hearing.calls, known.leading, known.said)
    return [laid_out(call, rows, known.said) for call in hearing.calls]


def _unheard(hearing: Hearing, card: ModelCard) -> CannotTraceError:
    ran = Counter(hearing.ran.values())
    named = ", ".join(f"{name}{f' x {count}' if count > 1 else ''}" for name, count in ran.most_common(8))
    more = f" and {len(ran) - 8} other kinds" if len(ran) > 8 else ""
    seen = "".join(
        f"; heard, and no attention: {what} ({plural(count, 'time')})" for what, count in hearing.seen.items()
    )
    return CannotTraceError(
        f"no attention was heard in {card.architecture}: {named or 'nothing'}{more} ran{seen}",
        "looked for: nn.MultiheadAttention, scaled_dot_product_attention, flex_attention, flash-attn, xformers, and a "
        "softmax over queries times keys that is multiplied with values",
    )


def _notes(laid: Sequence[LaidOut]) -> tuple[str, ...]:
    """What a reader must know, each once, behind the modules it is true of."""
    where: dict[str, list[str]] = {}
    for one in laid:
        for note in _remarks(one):
            where.setdefault(note, []).append(one.call.module or "an attention")
    return tuple(f"{_listed(list(dict.fromkeys(modules)))}: {note}" for note, modules in where.items())


def _listed(modules: Sequence[str]) -> str:
    return modules[0] if len(modules) == 1 else f"{modules[0]} and {len(modules) - 1} more"


def _remarks(one: LaidOut) -> Iterator[str]:
    if one.guessed:
        yield one.guessed
    if one.windows > 1:
        size = one.queries // one.windows
        yield f"{one.windows} windows of {plural(size, 'position')} stand one after the other"
    if (one.pattern < -_ROUNDING).any() or (one.pattern.sum(-1) > 1 + _ROUNDING).any():
        yield "its heads are mixed after the softmax, so that a row does not sum to 1"


# What sums of weights in 16 bits may be away from 1.
_ROUNDING = 2e-2


@dataclass(frozen=True, slots=True)
class Standing:
    """What says in which stack a call is.

    Attributes:
        module: Path of its module.
        cross: Whether its keys are other tokens than its queries.
        keys: How many keys it has.
        back: Whether its mask looks back.
    """

    module: str
    cross: bool
    keys: int
    back: bool

    @property
    def block(self) -> str:
        """The module that its own module is a part of."""
        parent = self.module.rpartition(".")[0]
        return parent or block_of(self.module)


def stacks_of(calls: Sequence[Standing]) -> list[Stack]:
    """The stack of each call.

    Where something attends to other tokens, own attention is the decoder's, unless its path says encoder, or no cross
    attention stands in its block and it runs before all of them or has the length of the keys others attend to. Alone
    it is a decoder's where its mask looks back.
    """
    cross = [one for one in calls if one.cross]
    if not cross:
        return [Stack.DECODER if all(one.back for one in calls) else Stack.ENCODER] * len(calls)
    blocks, remembered = {one.block for one in cross}, {one.keys for one in cross}
    first, stacks = calls.index(cross[0]), []
    for number, one in enumerate(calls):
        half = half_of(one.module)
        encodes = half == "encoder" or (
            half != "decoder"
            and one.block not in blocks
            and not one.back
            and (number < first or one.keys in remembered)
        )
        stacks.append(Stack.CROSS if one.cross else Stack.ENCODER if encodes else Stack.DECODER)
    return stacks


def _standing(one: LaidOut) -> Standing:
    return Standing(one.call.module.replace("/", "."), is_cross(one), one.keys, _looks_back(one.visible))


def _looks_back(visible: BoolArray) -> bool:
    """Whether no query sees a later key, and some do not see one."""
    queries, keys = visible.shape[2:]
    seen = np.asarray(visible.any(axis=(0, 1)))
    return queries > 1 and keys >= queries and not np.triu(seen, 1 + keys - queries).any()


def _counts(stacks: Sequence[Stack]) -> dict[Stack, int]:
    return dict(Counter(stacks))


def _counted(card: ModelCard, calls: Sequence[AttentionCall]) -> ModelCard:
    return counted(card, [(call.stack, call.layer, call.heads, call.key_heads) for call in calls])


def counted(card: ModelCard, calls: Sequence[tuple[Stack, int, int, int]]) -> ModelCard:
    """The card with the layers and heads that were heard, of each side: of each call its stack, layer, heads and key
    heads."""
    own = [[one for one in calls if one[0] is stack] for stack in (Stack.ENCODER, Stack.DECODER)]
    both = all(own) and any(one[0] is Stack.CROSS for one in calls)
    sides = own if both else [list(calls)]
    layers = tuple(1 + max(layer for _, layer, _, _ in side) for side in sides)
    heads = tuple(max(count for _, _, count, _ in side) for side in sides)
    key_heads = tuple(max(count for _, _, _, count in side) for side in sides)
    return replace(card, encoder_decoder=both, layers=layers, heads=heads, key_heads=key_heads)


def _batch(laid: Sequence[LaidOut], stacks: Sequence[Stack], known: Known, rows: int) -> Batch:
    """The sides of the run: the one most calls attend within, and the decoder's where others are attended to."""
    cross = [one for one, stack in zip(laid, stacks, strict=True) if stack is Stack.CROSS]
    own = [one for one, stack in zip(laid, stacks, strict=True) if stack is not Stack.CROSS]
    if not cross:
        side = side_of(_most(max(one.queries, _own_keys(one)) for one in own), known, rows, known.labels)
        _check_labels(known, (side,))
        return side
    asking = [one.queries for one, stack in zip(laid, stacks, strict=True) if stack is not Stack.ENCODER]
    memory = side_of(_most(one.keys for one in cross), known, rows, known.labels)
    decoder = side_of(_most(asking), known, rows, known.target_labels, second=True)
    _check_labels(known, (memory, decoder))
    return replace(memory, decoder=decoder)


def _own_keys(one: LaidOut) -> int:
    """Keys of own attention that are tokens: those behind a cache, not what `bias_k` adds."""
    return one.keys if one.queries < one.keys and one.call.how != "nn.MultiheadAttention" else one.queries


def _most(lengths: Iterable[int]) -> int:
    return Counter(lengths).most_common(1)[0][0]


def side_of(length: int, known: Known, rows: int, labels: Labels | None, *, second: bool = False) -> Batch:
    """Rows of a length: with the ids among the inputs that fit, the second of them for the decoder's side."""
    own = known.virtual
    fitting = [place for place, ids in enumerate(known.ids) if ids.shape == (rows, length - own)]
    if second and len(known.ids) > 1:
        fitting = [place for place in fitting if place > 0]
    ids = np.full((rows, length), UNKNOWN, np.int64)
    named: Labels = [[str(place) for place in range(length)]] * rows
    if fitting:
        found = known.ids[fitting[0]]
        ids[:, own:] = np.where((found >= 0) & (found < 2**31), found, UNKNOWN)
        words = known.tokens[fitting[0]] if known.tokens else [[str(one) for one in row] for row in found.tolist()]
        named = [[*(f"virtual {place}" for place in range(own)), *row] for row in words]
    if labels is not None:
        given = list(labels) * rows if len(labels) == 1 else labels
        named = given if [len(row) for row in given] == [length] * rows else named
    roles = ((*[Role.VIRTUAL] * own, *[Role.TEXT] * (length - own)),) * rows
    texts = known.texts if len(known.texts) == rows and not second else ()
    return Batch(ids, np.ones((rows, length), np.bool_), tuple(tuple(row) for row in named), roles, texts)


def _check_labels(known: Known, sides: Sequence[Batch]) -> None:
    for name, labels, side in zip(
        ("labels", "target_labels"), (known.labels, known.target_labels), sides, strict=False
    ):
        if labels is None:
            continue
        lengths = {len(row) for row in labels}
        if len(labels) not in (1, side.rows) or lengths != {side.length}:
            form = f"{len(labels)} x {'/'.join(map(str, sorted(lengths)))}"
            there = f"there are {side.rows} x {side.length} positions"
            raise UsageError(f"{parameter(name)} has {form} names, {there}", "give one for each")


def _masks(laid: Sequence[LaidOut], stacks: Sequence[Stack]) -> list[Mask]:
    """The mask of each call; calls that see the same share one."""
    made: list[tuple[LaidOut, Mask]] = []
    for one, stack in zip(laid, stacks, strict=True):
        same = next((mask for other, mask in made if _same(one, other)), None)
        made.append((one, _mask(one, stack) if same is None else same))
    return [mask for _, mask in made]


def _same(one: LaidOut, other: LaidOut) -> bool:
    return (
        one.call.delivery is other.call.delivery
        and one.call.given == other.call.given
        and np.array_equal(one.visible, other.visible)
        and (
            one.padding is other.padding
            or (one.padding is not None and other.padding is not None and np.array_equal(one.padding, other.padding))
        )
    )


def _mask(one: LaidOut, stack: Stack) -> Mask:
    """What a call may see and why: padding that was handed over is padding, the rest what it is recognised as, and
    what it is not is the user's."""
    visible, keep = one.visible, one.padding
    offset = one.keys - one.queries if stack is not Stack.CROSS and one.queries < one.keys else 0
    if one.call.how == "nn.MultiheadAttention" and stack is not Stack.CROSS:
        offset = offset if one.queries == 1 and offset > 2 else 0  # one or two keys are those `bias_k` and zeros add
    if keep is not None:
        visible = visible & keep[:, None, None, :]
    rule = _rule(one, visible, keep, offset)
    otherwise = Reason.WINDOW if one.windows > 1 else Reason.USER if one.call.given else Reason.OTHER
    return Mask.explained(visible, rule, query_offset=offset, delivery=one.call.delivery, otherwise=otherwise)


def _rule(one: LaidOut, visible: BoolArray, keep: BoolArray | None, offset: int) -> Rule:
    if one.windows > 1:
        size = one.queries // one.windows
        return Opaque(f"windows of {size}")
    rule = recognise(visible, keep, offset)
    if not isinstance(rule, Opaque):
        return rule
    rest = Opaque("the mask that is handed over" if one.call.given else f"{one.call.module}: unrecognised")
    if keep is None or keep.all():
        return rest
    return all_of(rest, Padding(Content(keep, np.bool_)))


def _with_padding(batch: Batch, laid: Sequence[LaidOut], stacks: Sequence[Stack], masks: Sequence[Mask]) -> Batch:
    """The sides with the padding that calls were handed, or whose masks are read as padding."""
    keeps: dict[bool, BoolArray] = {}
    for one, stack, mask in zip(laid, stacks, masks, strict=True):
        of_decoder = stack is Stack.DECODER and batch.decoder is not None
        length = batch.decoder.length if of_decoder and batch.decoder is not None else batch.length
        found = one.padding if one.padding is not None else _padding_read(mask.rule)
        if found is not None and found.shape[1] >= length and of_decoder not in keeps:
            keeps[of_decoder] = np.broadcast_to(found[:, :length], (batch.rows, length))
    decoder = batch.decoder
    if decoder is not None and True in keeps:
        decoder = with_padding(decoder, keeps[True])
    own = with_padding(batch, keeps[False]) if False in keeps else batch
    return replace(own, decoder=decoder)


def padded_by_ids(batch: Batch, pads: frozenset[int]) -> Batch:
    """The sides of which no mask hides a thing, with the padding that their ids tell."""
    decoder = None if batch.decoder is None else padded_by_ids(batch.decoder, pads)
    keep = ~np.isin(batch.ids, sorted(pads))
    told = pads and batch.keep.all() and not keep.all() and keep.any(axis=1).all() and at_one_end(keep)
    return replace(with_padding(batch, keep) if told else batch, decoder=decoder)


def _padding_read(rule: Rule) -> BoolArray | None:
    return next((leaf.keep.array for leaf in rule.leaves() if isinstance(leaf, Padding)), None)


def with_padding(side: Batch, keep: BoolArray) -> Batch:
    """A side with other padding: bool [batch, position], False = padding."""
    roles = tuple(
        tuple(role if kept else Role.PADDING for role, kept in zip(row, kept_row, strict=True))
        for row, kept_row in zip(side.roles, keep, strict=True)
    )
    return replace(side, keep=np.array(keep), roles=roles)
