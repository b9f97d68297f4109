"""Layers that made no attention call: what they are instead, by the classes they are built of."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch

from maskviz.core.run.trace import FEED_FORWARD, ModelCard, SilentLayer
from maskviz.core.words import Stack
from maskviz.tracing.meaning.hearing import Hearing
from maskviz.tracing.meaning.naming import block_of, half_of, layer_counts

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
