"""Which stack and layer an attention call belongs to, from the module paths in the order they ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from maskviz.core.run.trace import ModelCard
from maskviz.core.words import Stack


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
