"""Rules on a mask as it is handed over: its shape, its polarity, and what it is meant to be."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from maskviz.core.arrays import AnyArray, BoolArray
from maskviz.core.checks.case import Case, GivenArray
from maskviz.core.checks.findings import Confidence, Finding, Lint, Need
from maskviz.core.checks.intended import TORCH_MHA, ones_and_zeros, repeated_rows, upside_down_padding
from maskviz.core.checks.known import found, leak_of, not_numbers_of
from maskviz.core.words import Dialect

_FOUR_AXES = (Dialect.HF_4D, Dialect.SDPA)
_KEYS_ALONE = (Dialect.HF_2D, Dialect.TORCH_PADDING)
_PACKED = (Dialect.SEQUENCE_NUMBERS, Dialect.CU_SEQLENS)
_WITHOUT_TOKENS = (Dialect.HEAD_MASK, Dialect.WEIGHTS)


def head_order(case: Case) -> Iterator[Finding]:
    """T5: [batch x heads, query, key] that repeats the batch for every head; torch wants each row's heads together."""
    array = case.array
    rows = None if array is None else repeated_rows(array)
    if array is None or rows is None:
        return
    masks = array.values.shape[0]
    message = f"its {masks} masks are {rows} rows repeated {masks // rows} times, in the order of mask.repeat"
    yield found("T5", array.name, message, measured=leak_of(array), confidence=Confidence.LIKELY)


def broadcast_accident(case: Case) -> Iterator[Finding]:
    """T6: a mask without a head axis, for a batch as large as the number of heads."""
    array = case.array
    if array is None or array.dialect not in _FOUR_AXES or array.values.ndim != 3 or case.model is not None:
        return
    rows, heads = array.values.shape[0], array.sizes.heads
    if heads is not None and rows == heads == array.sizes.batch and rows > 1:
        message = f"its first axis of {rows} is taken for the {heads} heads, so that every row gets every mask"
        yield found("T6", array.name, message, confidence=Confidence.LIKELY)


def queries_and_keys_swapped(case: Case) -> Iterator[Finding]:
    """T13: a mask that is causal the other way round, or hides queries that are padding instead of keys."""
    array = case.array
    if array is None or array.visible is None or array.dialect in (*_WITHOUT_TOKENS, *_KEYS_ALONE):
        return
    visible = array.visible
    queries, keys = visible.shape[2:]
    if queries != keys or queries < 3:
        return
    if (visible == np.triu(np.ones((queries, keys), np.bool_))).all():
        message = "every query sees itself and what is later, and turned round it is a causal mask"
        yield found("T13", array.name, message, confidence=Confidence.LIKELY)
    elif case.run is not None and case.run.trace.batch.keep.shape[1:] == (keys,):
        keep = case.run.trace.batch.keep
        if len(visible) == len(keep) and not keep.all() and (visible == keep[:, None, :, None]).all():
            message = "it hides every key from the queries that are padding, and no key that is"
            yield found("T13", array.name, message, cure="keep[:, None, None, :]: hide the keys that are padding.")


def averaged_weights(case: Case) -> Iterator[Finding]:
    """T7: attention weights without a head axis, of a module that has several heads."""
    array = case.array
    if array is None or array.dialect is not Dialect.WEIGHTS or array.values.ndim != 3 or array.sizes.heads == 1:
        return
    sure = Confidence.POSSIBLE if array.sizes.heads is None else Confidence.CERTAIN
    message = f"weights of {list(array.values.shape)} have no axis for heads: they are the mean over them"
    yield found("T7", array.name, message, confidence=sure)


def keras_conventions(case: Case) -> Iterator[Finding]:
    """T8: a mask for Keras with two or four axes, or numbers that are to be added."""
    array = case.array
    if array is None or array.dialect is not Dialect.KERAS or not array.values.size:
        return
    if array.values.ndim != 3:
        yield found(
            "T8", array.name, f"it has the shape {list(array.values.shape)}, and Keras wants [batch, query, key]"
        )
    elif array.values.dtype.kind == "f" and bool((array.values < 0).any()):
        message = (
            f"it has numbers down to {float(array.values.min()):.3g}, and Keras takes every number but 0 for attend"
        )
        yield found("T8", array.name, message)


def from_the_first_key(case: Case) -> Iterator[Finding]:
    """T9: more keys than queries, and a causal triangle that starts at the first key."""
    array = case.array
    if array is None or array.visible is None or array.dialect in (*_WITHOUT_TOKENS, *_KEYS_ALONE):
        return
    queries, keys = array.visible.shape[2:]
    if queries >= keys or (queries == 1 and array.sizes.queries != 1):
        return
    triangle = np.tril(np.ones((queries, keys), np.bool_))
    if (array.visible == triangle).all():
        message = f"{queries} queries and {keys} keys, and the last query sees {queries} of them instead of all {keys}"
        # A static cache that is filled for the first time has the same mask: its later keys are empty.
        yield found("T9", array.name, message, confidence=Confidence.POSSIBLE)


def other_sizes(case: Case) -> Iterator[Finding]:
    """T10: last axes that are not the queries and keys of the call, or a 3-D mask torch cannot tell the heads of."""
    array = case.array
    if array is None or array.values.ndim < 2 or array.dialect in (*_WITHOUT_TOKENS, *_KEYS_ALONE, *_PACKED):
        return
    sizes, shape = array.sizes, array.values.shape
    wrong = []
    if sizes.keys is not None and shape[-1] != sizes.keys:
        wrong.append(f"{shape[-1]} keys instead of {sizes.keys}")
    if sizes.queries is not None and shape[-2] not in (sizes.queries, *((1,) if array.values.ndim > 2 else ())):
        wrong.append(f"{shape[-2]} queries instead of {sizes.queries}")
    if case.model is not None and array.values.ndim == 3 and array.dialect in _FOUR_AXES:
        message = f"transformers raises on three axes, {list(shape)}: it takes [batch, token] or four"
        yield found("T10", array.name, message, cure="Give it its head axis: mask[:, None].")
    elif case.model is not None and array.values.ndim == 2 and array.dialect in _FOUR_AXES:
        message = f"transformers takes two axes, {list(shape)}, for [batch, token], and here they are [query, key]"
        yield found("T10", array.name, message, cure="Give it the other two: mask[None, None].")
    elif wrong:
        yield found("T10", array.name, f"its shape {list(shape)} has {' and '.join(wrong)}")
    elif array.dialect in TORCH_MHA and array.values.ndim == 3 and sizes.heads and sizes.heads > 1:
        rows = sizes.batch
        if shape[0] % sizes.heads or (rows is not None and shape[0] != rows * sizes.heads):
            of = f"{rows} x {sizes.heads}" if rows is not None else f"batch x {sizes.heads}"
            message = f"a 3-D mask of nn.MultiheadAttention has batch x heads masks, {of}, and this one {shape[0]}"
            yield found("T10", array.name, message)


def offsets_of_texts(case: Case) -> Iterator[Finding]:
    """T12: cu_seqlens that do not start at 0, do not rise, or do not end at the number of tokens."""
    array = case.array
    if array is None or array.dialect is not Dialect.CU_SEQLENS or array.values.ndim != 1 or not array.values.size:
        return
    if wrong := wrong_offsets(array.values, array.sizes.keys):
        yield found("T12", array.name, "; ".join(wrong))


def wrong_offsets(offsets: AnyArray, tokens: int | None) -> list[str]:
    """What is wrong with offsets of packed texts: they start at 0, rise, and end at the number of tokens.

    Args:
        offsets: [texts + 1].
        tokens: How many there are; None where that is not known.
    """
    wrong = [] if offsets[0] == 0 else [f"it starts at {offsets[0]} instead of 0"]
    for place in np.flatnonzero(offsets[1:] <= offsets[:-1])[:1].tolist():
        first, then = offsets[place : place + 2]
        wrong.append(f"text {place + 1} " + ("has no token" if first == then else f"runs from {first} back to {then}"))
    if tokens is not None and offsets[-1] != tokens:
        wrong.append(f"it ends at {offsets[-1]}, and there are {tokens} tokens")
    return wrong


def keep_of_other_length(case: Case) -> Iterator[Finding]:
    """P7: a mask [batch, token] that is not as long as its rows, or with zeros between ones."""
    array = case.array
    kept = None if array is None else _kept(array)
    if array is None or kept is None:
        return
    if array.sizes.keys is not None and kept.shape[1] != array.sizes.keys:
        yield found("P7", array.name, f"{array.sizes.keys} tokens and a mask of {kept.shape[1]}")
        return
    for row, keep in enumerate(kept):
        places = np.flatnonzero(keep)
        if len(places) and places[-1] - places[0] + 1 != len(places):
            hole = int(np.flatnonzero(~keep[places[0] :])[0] + places[0])
            yield found("P7", f"{array.name}, row {row + 1}", f"token {hole} is hidden between tokens that are kept")


def kept_nothing(case: Case) -> Iterator[Finding]:
    """P6: a mask [batch, token] with a row of nothing but padding."""
    array = case.array
    kept = None if array is None else _kept(array)
    if array is None or kept is None or hides_its_text(case):
        return
    everywhere = "" if kept.any() else "; no row keeps one: it may be inverted, 1 - mask or ~mask"
    for row, keep in enumerate(kept):
        if not keep.any():
            yield found("P6", f"{array.name}, row {row + 1}", f"none of its {len(keep)} tokens is kept{everywhere}")


def _kept(array: GivenArray) -> BoolArray | None:
    """bool [batch, token], which tokens a mask of tokens alone keeps; None of any other."""
    if array.dialect is Dialect.SEQUENCE_NUMBERS and array.values.ndim == 2 and not array.unreadable:
        return np.asarray(array.values > 0)
    return array.visible[:, 0, 0] if array.dialect in _KEYS_ALONE and array.visible is not None else None


_OF_SHAPE: tuple[Lint, ...] = (
    Lint("P6", kept_nothing, (Need.ARRAY,)),
    Lint("P7", keep_of_other_length, (Need.ARRAY,)),
    Lint("T5", head_order, (Need.ARRAY,)),
    Lint("T6", broadcast_accident, (Need.ARRAY,)),
    Lint("T13", queries_and_keys_swapped, (Need.ARRAY,)),
    Lint("T7", averaged_weights, (Need.ARRAY,)),
    Lint("T8", keras_conventions, (Need.ARRAY,)),
    Lint("T9", from_the_first_key, (Need.ARRAY,)),
    Lint("T10", other_sizes, (Need.ARRAY,)),
    Lint("T12", offsets_of_texts, (Need.ARRAY,)),
)


def inverted(case: Case) -> Iterator[Finding]:
    """T1: a mask that shows only what comes later, or, upside down, is the mask of its batch or a causal one."""
    array = case.array
    if array is None or array.visible is None or array.dialect in (Dialect.HEAD_MASK, Dialect.WEIGHTS):
        return
    visible = array.visible
    if (keep := _keep_of(case)) is not None and visible.shape[2] == 1:
        if hides_its_text(case):
            yield found("T1", array.name, "it keeps the padding of the batch, and hides its text")
        return
    if keep is None and hides_its_text(case):
        yield found("T1", array.name, _of_padding(array), measured=not_numbers_of(array), confidence=Confidence.LIKELY)
        return
    if ones_and_zeros(array) or visible.shape[2] < 2 or visible.shape[3] < visible.shape[2]:
        return
    future = _future(visible)
    if visible.any() and not (visible & ~future).any():
        shown = f"all {int(visible.any(axis=(0, 1)).sum())} cells it shows are later tokens, none is the query's own"
        yield found("T1", array.name, shown, measured=not_numbers_of(array))
    elif _causal_with_padding(~visible, future):
        message = "no query sees itself, and upside down it is a causal mask"
        if _diagonal(visible).any():
            message = "its queries see all that is later and not themselves, and upside down it is a causal mask"
        yield found("T1", array.name, message, measured=not_numbers_of(array), confidence=Confidence.LIKELY)


def hides_its_text(case: Case) -> bool:
    """Whether a mask of padding is the padding of its batch upside down, or by its shape that of another."""
    array = case.array
    if array is None or array.visible is None:
        return False
    if (keep := _keep_of(case)) is None:
        return upside_down_padding(array)
    own = array.visible[:, 0, 0]
    return array.visible.shape[2] == 1 and own.shape == keep.shape and not keep.all() and bool((own == ~keep).all())


def _of_padding(array: GivenArray) -> str:
    """What is seen of a mask of padding that is upside down, and how it is turned."""
    row = 0 if array.visible is None else int(array.visible[:, 0, 0].any(axis=1).argmin())
    kind = array.values.dtype.kind
    cure = "~mask" if kind == "b" else "1 - mask" if ((array.values == 0) | (array.values == 1)).all() else ""
    message = f"it is inverted: row {row + 1} keeps nothing and no row keeps all, and upside down each is a text"
    return message + " with its padding at one end" + (f": {cure}" if cure else "")


def _causal_with_padding(visible: BoolArray, future: BoolArray) -> bool:
    """Whether nothing later is seen, and every token that any query sees, two of a row at least, sees itself and not
    itself alone: tokens that none sees are padding."""
    queries, keys = visible.shape[2:]
    own: BoolArray = _diagonal(visible)
    by_key: BoolArray = np.asarray(visible.any(axis=2))
    seen = by_key[..., keys - queries :]
    return bool(
        not (visible & future).any()
        and (own == seen).all()
        and (own.sum(axis=-1) > 1).any()
        and visible.sum() > own.sum()
    )


def _keep_of(case: Case) -> BoolArray | None:
    """bool [batch, token], the padding of the batch in whose company the mask is given."""
    if case.run is not None:
        return case.run.trace.batch.keep
    if case.batch is None or not case.batch.keep or any(one is None for one in case.batch.keep):
        return None
    rows = [one for one in case.batch.keep if one is not None]
    return np.array(rows, np.bool_) if len({len(row) for row in rows}) == 1 else None


def _future(visible: BoolArray) -> BoolArray:
    """bool [query, key], True where a key comes after its query, the last query being the last key."""
    queries, keys = visible.shape[2:]
    return np.asarray(np.arange(keys)[None, :] > np.arange(queries)[:, None] + keys - queries)


def _diagonal(visible: BoolArray) -> BoolArray:
    """bool [batch, head, query], whether a query sees its own key."""
    queries, keys = visible.shape[2:]
    return np.asarray(visible[:, :, np.arange(queries), np.arange(queries) + keys - queries])


def ones_as_additive(case: Case) -> Iterator[Finding]:
    """T2: floats of 0 and 1 where numbers are added to the scores."""
    array = case.array
    if array is not None and array.values.dtype.kind == "f" and ones_and_zeros(array):
        share = float((array.values == 0).mean())
        message = f"its {array.dtype} numbers are all 0 or 1 ({share:.0%} of them 0), and {array.dialect} adds them"
        yield found("T2", array.name, message, measured=leak_of(array))


def bool_in_eager(case: Case) -> Iterator[Finding]:
    """T3: booleans where eager attention adds numbers."""
    array = case.array
    if array is not None and array.dialect is Dialect.HF_4D and array.values.dtype.kind == "b":
        yield found("T3", array.name, "it is boolean, and eager attention adds True as 1", measured=leak_of(array))


def whole_numbers(case: Case) -> Iterator[Finding]:
    """T4: whole numbers as a 4-D mask."""
    array = case.array
    if array is not None and array.dialect in (Dialect.HF_4D, Dialect.SDPA) and array.values.dtype.kind in "iu":
        refused = "" if array.trial is None or not array.trial.refused else f"torch says: {array.trial.refused}"
        message = f"it is {array.dtype}, which is neither boolean nor a float"
        yield found("T4", array.name, message, measured=refused or leak_of(array))


_OF_POLARITY: tuple[Lint, ...] = (
    Lint("T1", inverted, (Need.ARRAY,)),
    Lint("T2", ones_as_additive, (Need.ARRAY,)),
    Lint("T3", bool_in_eager, (Need.ARRAY,)),
    Lint("T4", whole_numbers, (Need.ARRAY,)),
)


LINTS = (*_OF_SHAPE, *_OF_POLARITY)
