"""Which stack and layer each call that was heard is, and which layers were not heard."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.errors import UsageError
from maskviz.core.rules.kinds import Causal
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import CONTENT, FEED_FORWARD, AttentionCall, Batch, Delivery, ModelCard, SilentLayer, Trace
from maskviz.core.words import Stack
from maskviz.tracing.calling import Calling
from maskviz.tracing.listen.recorder import Captured, Recorder
from maskviz.tracing.meaning.evidence import masks_of, stitched

# Path of an attention module, and how often it attended before in the same pass.
StackLayer = tuple[str, int]


def places_of(trace: Trace) -> Iterator[tuple[StackLayer, tuple[AttentionCall, ...]]]:
    """Each place of a run in the order of the calls, with the call made there: two where one softmax is over the
    tokens of both sides."""
    turns: dict[str, int] = {}
    calls = iter(trace.calls)
    call = next(calls, None)
    while call is not None:
        turn = turns.get(call.module, 0)
        turns[call.module] = turn + 1
        after = next(calls, None)
        if after is not None and merged(call, after):
            yield (call.module, turn), (call, after)
            after = next(calls, None)
        else:
            yield (call.module, turn), (call,)
        call = after


def gates_of(trace: Trace, head_mask: HeadMask) -> dict[StackLayer, FloatArray]:
    """The gates float32 [head] of each place where one is not 1.

    Raises:
        UsageError: the mask names a head that did not run, or one side alone of a softmax over both.
    """
    ran = {(call.stack.value, call.layer, head) for call in trace.calls for head in range(call.heads)}
    for stack, head, _ in head_mask.changed():
        if (stack, head.layer, head.head) not in ran:
            layers = ", ".join(str(call.layer) for call in trace.of_stack(Stack(stack)))
            raise UsageError(f"head {head} has no attention to gate", f"attention runs in {stack} layers {layers}")
    gates: dict[StackLayer, FloatArray] = {}
    for place, calls in places_of(trace):
        of_sides = [_gates_of_call(head_mask, call) for call in calls]
        if any(not np.array_equal(one, of_sides[0]) for one in of_sides):
            raise UsageError(
                f"{place[0]} attends to both sides in one softmax: its heads cannot be gated for one alone",
                "name them in both stacks, such as 'decoder 0:3; cross 0:3'",
            )
        if (of_sides[0] != 1).any():
            gates[place] = of_sides[0]
    return gates


def _gates_of_call(head_mask: HeadMask, call: AttentionCall) -> FloatArray:
    gates = head_mask.of(call.stack, call.layer)
    return np.ones(call.heads, np.float32) if gates is None else gates[: call.heads]


def stacks_of(paths: Sequence[str], encoder_decoder: bool, causal: bool) -> list[Stack]:
    """Return the stack of each call.

    A model of one stack is a decoder if its first mask is causal. In an encoder-decoder the path says which half a
    call is in, and the second attention module of a decoder block is the cross attention: every implementation
    runs self attention first, and they agree on little else.
    """
    both = {half_of(path) for path in paths} >= {"encoder", "decoder"}
    if not encoder_decoder and not both:
        return [Stack.DECODER if causal else Stack.ENCODER] * len(paths)
    first_in_block: dict[str, str] = {}
    stacks = []
    for path in paths:
        if half_of(path) == "encoder":
            stacks.append(Stack.ENCODER)
        else:
            first = first_in_block.setdefault(block_of(path), path)
            stacks.append(Stack.DECODER if first == path else Stack.CROSS)
    return stacks


def half_of(path: str) -> str:
    """The half of an encoder-decoder that a module is in, "" for neither; `text_encoder` is an encoder, too."""
    parts = [part.rpartition("_")[2] for part in path.split(".")]
    return next((part for part in parts if part in ("encoder", "decoder")), "")


def layers_of(paths: Sequence[str], stacks: Sequence[Stack], counts: Mapping[Stack, int]) -> list[int]:
    """Return the layer of each call within its stack.

    The number in the path, so that hybrids keep the numbers of their attention layers, also where a layer attends
    twice (DiffLlama); the order of the calls where fewer modules than layers run again and again (ALBERT).

    Args:
        paths: Module path of each call, in order.
        stacks: Stack of each call.
        counts: Layers each stack has, as far as the config says.
    """
    layers = [0] * len(paths)
    for stack in set(stacks):
        of_stack = [index for index, one in enumerate(stacks) if one is stack]
        numbers = [_number(paths[index]) for index in of_stack]
        different = len(set(numbers))
        told_apart = None not in numbers and different in (len(numbers), counts.get(stack))
        for order, index in enumerate(of_stack):
            number = numbers[order]
            layers[index] = number if told_apart and number is not None else order
    return layers


def layer_counts(card: ModelCard, stacks: Iterable[Stack]) -> dict[Stack, int]:
    """Layers each stack has, as far as the config says; an encoder-decoder has all three stacks, heard or not."""
    if not card.layers:
        return {}
    if card.encoder_decoder:
        first, last = card.layers[0], card.layers[-1]
        return {Stack.ENCODER: first, Stack.DECODER: last, Stack.CROSS: last}
    known = dict.fromkeys(stacks)
    return dict.fromkeys(known, card.layers[0]) if len(known) == 1 else {}  # Funnel's decoder has layers of its own


def towers_of(model: Any) -> tuple[str, ...]:
    """Paths of the parts of a composite model whose config is not the text's: what reads images, sound or video.

    An encoder-decoder that is put together of two models has no such part.
    """
    config = model.config
    try:
        text = config.get_text_config()
    except (AttributeError, ValueError):
        return ()
    if text is config or getattr(config, "is_encoder_decoder", False):
        return ()
    others = [getattr(config, name, None) for name in getattr(config, "sub_configs", {})]
    strangers = {id(one) for one in others if one is not None and not _holds(one, text)}
    return tuple(path for path, module in model.named_modules() if id(getattr(module, "config", None)) in strangers)


def _holds(config: Any, text: Any) -> bool:
    """Whether a config is the text's, or one that has it as a part (ColPali's holds a whole image-text model)."""
    return config is text or any(
        _holds(getattr(config, name, None), text) for name in getattr(config, "sub_configs", {})
    )


def block_of(path: str) -> str:
    """The path up to and including its first number: the block of layers a module is in."""
    parts = path.split(".")
    for index, part in enumerate(parts):
        if part.isdigit():
            return ".".join(parts[: index + 1])
    return path


def _number(path: str) -> int | None:
    last = block_of(path).rpartition(".")[2]
    return int(last) if last.isdigit() else None


_ALONE = "cross attention with nothing to attend to"
# What a class that mixes tokens without a softmax over them calls itself at the end of its name.
_KINDS = (
    (re.compile(r"(Mamba2?|SSM|Bamba|FalconH1)\w*Mixer$|Mamba\w*Layer$"), "state space"),
    (re.compile(r"Delta(Net|Attention)$|(Linear|Lightning)Attention$|^Rwkv\w*Attention$"), "linear attention"),
    (re.compile(r"Recurrent(Block|Layer)$|LSTM(Layer|Cell|Backend)$"), "recurrent"),
    (re.compile(r"Fourier\w*$"), "Fourier transform"),
    (re.compile(r"^Yoso\w*SelfAttention$"), "hashed attention without a softmax"),
    (re.compile(r"CrossAttention\w*$"), _ALONE),
    (re.compile(r"^Mra\w*SelfAttention$"), "multi-resolution approximation of attention"),
    (re.compile(r"ShortConv(olution)?$"), "convolution"),
)
_FEEDING = re.compile(r"(MLP|Mlp|MoE|Moe|Experts|FeedForward)$")


def silent_layers(model: torch.nn.Module, card: ModelCard, hearing: Hearing) -> tuple[SilentLayer, ...]:
    """The layers of a model that made no call, per stack, and what they are.

    Args:
        model: The model.
        card: What the model is; layers it does not count are not asked for.
        hearing: What was heard.
    """
    named = [call.stack for call in hearing.calls] + [layer.stack for layer in hearing.silent]
    stacks = list(dict.fromkeys(named)) or [_lone_stack(card)]
    known = {(layer.stack, layer.layer) for layer in hearing.silent}
    found = []
    for stack, count in layer_counts(card, stacks).items():
        if card.encoder_decoder and not _has(model, stack):
            continue
        heard = {call.layer for call in hearing.calls if call.stack is stack}
        missing = [layer for layer in range(count) if layer not in heard and (stack, layer) not in known]
        if missing:
            blocks = _blocks(model, hearing, stack, count)
            if stack is Stack.CROSS and Stack.ENCODER not in stacks:  # a decoder alone
                found += [SilentLayer(stack, layer, "", _ALONE) for layer in missing]
            else:
                found += [_silent(stack, layer, *blocks.get(layer, ("", None))) for layer in missing]
    return tuple(found)


def _has(model: torch.nn.Module, stack: Stack) -> bool:
    """Whether an encoder-decoder, or the half of one, has a stack: some decoders attend to nothing else."""
    paths = [path for path, _ in model.named_modules() if block_of(path) != path]
    if stack is Stack.ENCODER:
        return any(half_of(path) == "encoder" for path in paths)
    others = [path for path in paths if half_of(path) != "encoder"]  # a decoder alone need not call itself one
    if stack is Stack.DECODER:
        return bool(others)
    return any(re.search(r"cross|enc_?dec|encoder_attn", path, re.IGNORECASE) for path in others)


def _lone_stack(card: ModelCard) -> Stack:
    return Stack.DECODER if re.search(r"CausalLM|LMHead", card.architecture) else Stack.ENCODER


def _blocks(
    model: torch.nn.Module, hearing: Hearing, stack: Stack, count: int
) -> dict[int, tuple[str, torch.nn.Module]]:
    """The block of each layer, by the list that the heard blocks are in, else by the longest list that fits."""
    holders = {block_of(call.module).rpartition(".")[0] for call in hearing.calls if call.stack is stack}
    if not holders:
        half = stack.value if stack is not Stack.CROSS else Stack.DECODER.value
        lists = [path for path, module in model.named_modules() if isinstance(module, torch.nn.ModuleList)]
        fitting = [path for path in lists if len(list(model.get_submodule(path).children())) == count]
        holders = set([path for path in fitting if half in path][:1] or fitting[:1])
    if len(holders) != 1:
        return {}
    holder = holders.pop()
    blocks = dict(model.get_submodule(holder).named_children())
    return {int(name): (f"{holder}.{name}", block) for name, block in blocks.items() if name.isdigit()}


def _silent(stack: Stack, layer: int, path: str, block: torch.nn.Module | None) -> SilentLayer:
    if block is None:
        return SilentLayer(stack, layer, path, "")
    names = []
    for inner, module in _outside_in(block):
        name = type(module).__name__
        kind = next((kind for pattern, kind in _KINDS if pattern.search(name)), None)
        if kind is not None:
            return SilentLayer(stack, layer, f"{path}.{inner}", kind, name)
        names.append(name)
    if any("Attention" in name for name in names) or not any(map(_FEEDING.search, names)):
        return SilentLayer(stack, layer, path, "")
    return SilentLayer(stack, layer, path, FEED_FORWARD, type(block).__name__)


def _outside_in(block: torch.nn.Module) -> Iterator[tuple[str, torch.nn.Module]]:
    """The modules of a block with their paths, outer ones first."""
    modules = [(path, module) for path, module in block.named_modules() if path]
    yield from sorted(modules, key=lambda pair: pair[0].count("."))


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
