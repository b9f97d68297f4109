"""What a recorder heard becomes calls: stacks and layers named, parts joined, masks explained."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from maskviz.core.arrays import BoolArray
from maskviz.core.rules.kinds import Causal
from maskviz.core.run.masks import Delivery
from maskviz.core.run.trace import CONTENT, AttentionCall, Batch, ModelCard, SilentLayer, Trace
from maskviz.core.words import Stack
from maskviz.tracing.calling import Calling
from maskviz.tracing.listen.recorder import Captured, Recorder
from maskviz.tracing.meaning.evidence import masks_of
from maskviz.tracing.meaning.naming import layer_counts, layers_of, stacks_of
from maskviz.tracing.meaning.stitching import stitched


@dataclass(frozen=True, slots=True, eq=False)
class Hearing:
    """The calls of a run.

    Attributes:
        calls: Every attention call, in order.
        silent: Layers whose mask depends on content.
        from_library: Whether every mask came as transformers' own mask functions made it.
    """

    calls: tuple[AttentionCall, ...]
    silent: tuple[SilentLayer, ...] = ()
    from_library: bool = True

    def where_same_as(self, other: Hearing) -> Hearing:
        """The calls whose masks are the same in another run; the others' layers become silent."""
        if len(self.calls) != len(other.calls):  # how often it attends depends on content, too
            silent = [SilentLayer(call.stack, call.layer, call.module, CONTENT) for call in self.calls]
            return Hearing((), tuple(silent), self.from_library)
        kept: list[AttentionCall] = []
        silent = []
        for call, again in zip(self.calls, other.calls, strict=True):
            if np.array_equal(call.mask.visible, again.mask.visible):
                kept.append(call)
            else:
                silent.append(SilentLayer(call.stack, call.layer, call.module, CONTENT))
        return Hearing(tuple(kept), tuple(silent), self.from_library)


def hearing_of(
    recorder: Recorder, batch: Batch, card: ModelCard, calling: Calling, like: Trace | None = None
) -> Hearing:
    """Return the calls a recorder heard, parts of a text joined; `like` is a run that tells encoder from decoder."""
    if not recorder.calls:
        return Hearing(())
    paths = [call.module for call in recorder.calls]
    causal = _is_causal(recorder, batch, calling) if like is None else like.calls[0].stack is Stack.DECODER
    stacks = stacks_of(paths, card.encoder_decoder, causal=causal)
    captured, stacks = _split(*stitched(recorder.calls, stacks, calling), batch)
    paths = [call.module for call in captured]
    layers = layers_of(paths, stacks, layer_counts(card, stacks))
    keeps = [_keep_of(call, stack, batch) for call, stack in zip(captured, stacks, strict=True)]
    masks = masks_of(captured, recorder.heard, keeps)
    calls = tuple(
        AttentionCall(stack, layer, call.module, call.heads, _key_heads(call, card), mask, call.pattern)
        for stack, layer, call, mask in zip(stacks, layers, captured, masks, strict=True)
    )
    library = {id(heard.tensor) for heard in recorder.heard}
    return Hearing(calls, from_library=all(id(call.source) in library for call in recorder.calls))


def merged(one: AttentionCall, other: AttentionCall) -> bool:
    """Whether two calls are the two sides of one softmax, over decoder and encoder tokens (T5Gemma 2)."""
    return one.module == other.module and (one.stack, other.stack) == (Stack.DECODER, Stack.CROSS)


def _split(calls: list[Captured], stacks: list[Stack], batch: Batch) -> tuple[list[Captured], list[Stack]]:
    """Take attention over the decoder's and the encoder's tokens at once apart into self and cross attention."""
    if batch.decoder is None:
        return calls, stacks
    own, both = batch.decoder.length, batch.decoder.length + batch.length
    apart: list[tuple[Captured, Stack]] = []
    for call, stack in zip(calls, stacks, strict=True):
        if stack is Stack.DECODER and call.visible.shape[3] == both:
            apart += [(_part(call, slice(0, own)), stack), (_part(call, slice(own, both)), Stack.CROSS)]
        else:
            apart.append((call, stack))
    return [call for call, _ in apart], [stack for _, stack in apart]


def _part(call: Captured, keys: slice) -> Captured:
    pattern = None if call.pattern is None else call.pattern[..., keys]
    return replace(call, visible=call.visible[..., keys], pattern=pattern, source=None)


def _key_heads(call: Captured, card: ModelCard) -> int:
    """Hand-written attention repeats its key heads before it can be heard: there the config is asked."""
    if call.source is None and len(card.key_heads) == 1 and card.heads == (call.heads,):
        return card.key_heads[0]
    return call.key_heads


def _is_causal(recorder: Recorder, batch: Batch, calling: Calling) -> bool:
    """Whether a lone stack is a decoder, by the cells of its first mask; by its rule where they do not tell."""
    first = recorder.calls[0]
    built = [one.rule for one in recorder.heard if one.tensor is first.source] or [one.rule for one in recorder.heard]
    if not built:
        queries, keys = first.visible.shape[2:]
        return queries > 1 and not np.triu(first.visible.any(axis=(0, 1)), k=1 + keys - queries).any()
    back = _looks_back(first, batch, calling.offset if calling.filled else 0)
    if back or back is None or built[0].readable:  # a span of an image may be all there is
        return bool(back) or any(isinstance(leaf, Causal) for leaf in built[0].leaves())
    return False


def _looks_back(call: Captured, batch: Batch, offset: int) -> bool | None:
    """Whether a real token does not see the next one, which sees it; None where there are no two to ask."""
    rows, _, queries, keys = call.visible.shape
    if rows != batch.rows or keys < batch.keep.shape[1] or queries < 2:
        return None
    seen: BoolArray = np.asarray(call.visible.any(axis=1))
    query = np.arange(max(min(queries, batch.length - offset) - 1, 0))
    real = batch.keep[:, offset + query] & batch.keep[:, offset + query + 1]
    if not real.any():
        return None
    ahead, behind = seen[:, query, offset + query + 1], seen[:, query + 1, offset + query]
    return bool((behind & ~ahead & real).any())


def _keep_of(call: Captured, stack: Stack, batch: Batch) -> BoolArray | None:
    decoder = stack is Stack.DECODER and batch.decoder is not None
    side = batch.decoder if decoder and batch.decoder is not None else batch
    queries, keys = call.visible.shape[2:]
    behind = queries == side.length < keys and call.delivery is Delivery.WEIGHTS  # keys that are no tokens
    return side.keep if side.length == keys or behind else None
