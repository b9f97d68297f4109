"""Which stack and layer an attention call belongs to, from the module paths in the order they ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from maskviz.core.trace import ModelCard
from maskviz.core.words import Stack


def stacks_of(paths: Sequence[str], encoder_decoder: bool, causal: bool) -> list[Stack]:
    """Return the stack of each call.

    A model of one stack is a decoder if its first mask is causal. In an encoder-decoder the path says which half a
    call is in, and the second attention module of a decoder block is the cross attention: every implementation
    runs self attention first, and they agree on little else.
    """
    if not encoder_decoder:
        return [Stack.DECODER if causal else Stack.ENCODER] * len(paths)
    first_in_block: dict[str, str] = {}
    stacks = []
    for path in paths:
        half = next((part for part in path.split(".") if part in ("encoder", "decoder")), "decoder")
        if half == "encoder":
            stacks.append(Stack.ENCODER)
        else:
            first = first_in_block.setdefault(block_of(path), path)
            stacks.append(Stack.DECODER if first == path else Stack.CROSS)
    return stacks


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
    return dict.fromkeys(dict.fromkeys(stacks), card.layers[0])


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
