"""The registry of functions that build transformers' masks, and what they are called with."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from transformers import masking_utils
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from maskviz.tracing.seam.canary import Canary
from maskviz.tracing.seam.eager import entries_of
from maskviz.tracing.seam.implementation import configs_of, parts_of
from maskviz.tracing.seam.replacing import replaced

# A mask with its skips off is never None by optimisation: what is meant is what is seen.
_SKIPS_OFF = {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}

# From what builds a mask to what is called instead, with its arguments by name.
Listener = Callable[[Callable[..., Any]], Callable[..., Any]]


def mask_functions_replaced(
    model: torch.nn.Module, names: Sequence[str], listener: Listener
) -> AbstractContextManager[None]:
    """A block with a listener in the place of the functions that build a model's masks for these implementations.

    Args:
        model: The model; masks of others are built as ever.
        names: Such as "eager" or "sdpa".
        listener: From the original to what is called instead.
    """
    registry = ALL_MASK_ATTENTION_FUNCTIONS
    own = {id(part): part for config in configs_of(model) for part in parts_of(config)}

    def of_model(build: Callable[..., Any]) -> Callable[..., Any]:
        heard = listener(build)

        def mask(**arguments: Any) -> Any:
            config = arguments.get("config")
            return (heard if config is None or id(config) in own else build)(**arguments)

        return mask

    return replaced(entries_of(registry), {name: of_model(registry[name]) for name in names})


def without_skips(arguments: dict[str, Any]) -> dict[str, Any]:
    """What a mask function is called with, so that it builds every mask."""
    return {**arguments, **_SKIPS_OFF}


def offsets_of(arguments: dict[str, Any]) -> tuple[int, int]:
    """Positions of the first query and the first key, from what a mask function is called with."""
    # Releases of transformers before 5.3 pass the positions themselves instead of an offset.
    positions = arguments.get("cache_position")
    query = int(positions[0]) if positions is not None else int(arguments.get("q_offset", 0))
    return query, int(arguments.get("kv_offset", 0))


def lengths_of(arguments: dict[str, Any]) -> tuple[int, int]:
    """How many queries and keys a mask is for."""
    positions = arguments.get("cache_position")
    queries = int(arguments["q_length"]) if positions is None else len(positions)
    return queries, int(arguments["kv_length"])


def for_rows(arguments: dict[str, Any], start: int, stop: int) -> dict[str, Any]:
    """What a mask function is called with for some of its queries, from the first to the one behind the last."""
    positions = arguments.get("cache_position")
    if positions is not None:
        return {**arguments, "cache_position": positions[start:stop]}
    return {**arguments, "q_length": stop - start, "q_offset": offsets_of(arguments)[0] + start}


def _take_what_we_read() -> bool:
    taken = inspect.signature(masking_utils.eager_mask).parameters
    lengths = "cache_position" in taken or {"q_length", "q_offset"} <= taken.keys()
    passed = any(one.kind is one.VAR_KEYWORD for one in taken.values())
    skips = inspect.signature(masking_utils.sdpa_mask).parameters.keys() >= _SKIPS_OFF.keys()
    names = {"batch_size", "kv_length", "kv_offset", "mask_function", "attention_mask", "dtype"}
    return lengths and passed and skips and names <= taken.keys()


def _are_registered() -> bool:
    registry = ALL_MASK_ATTENTION_FUNCTIONS
    return all(callable(registry[name]) for name in ("eager", "sdpa")) and isinstance(entries_of(registry), dict)


CANARIES = (
    Canary("the registry of mask functions", "transformers", _are_registered),
    Canary("what mask functions are called with", "transformers", _take_what_we_read),
)
