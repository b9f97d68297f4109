"""Where transformers makes masks and asks for attention: replaced while a model runs, and read for its rule."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import numpy as np
import torch
from transformers import masking_utils
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

from maskviz.core.arrays import Content, IntArray
from maskviz.core.rules.algebra import Everything, Opaque, Rule, all_of, any_of
from maskviz.core.rules.brought import rule_by_readers
from maskviz.core.rules.kinds import Ahead, Band, Causal, Chunk, Document, Padding, Repositioned, Span, Window
from maskviz.core.rules.mask_function import MaskFunction
from maskviz.tracing.calling import to_array
from maskviz.tracing.seam.implementations import configs_of, parts_of
from maskviz.tracing.seam.replacing import Canary, MovedError, replaced

Cells = Mapping[str, Any]
_MASKS, _MODELS = "transformers.masking_utils", "transformers.models"


def rule_of(function: Callable[..., Any]) -> Rule:
    """Return the rule a transformers mask function stands for; what no reader of another package knows either becomes
    Opaque(its name)."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    module = getattr(function, "__module__", None) or ""
    reader = _READERS.get((module, name))
    unknown = Opaque(f"{module.rpartition('.')[2]}.{name.replace('.<locals>', '')}")
    if reader is None:
        return rule_by_readers(MaskFunction(module, name, _cells_if_any(function), function, rule_of)) or unknown
    try:
        return reader(_cells(function))
    except (AttributeError, KeyError, TypeError, ValueError):  # a closure over other things, a window of -1 tokens
        return unknown


def _cells_if_any(function: Callable[..., Any]) -> Cells:
    """The cells of a function that need be none of transformers': a partial, an object that can be called."""
    try:
        return _cells(function)
    except (AttributeError, ValueError):  # no function, or a variable that has no value yet
        return {}


def _cells(function: Callable[..., Any]) -> Cells:
    names = function.__code__.co_freevars
    return dict(zip(names, (cell.cell_contents for cell in function.__closure__ or ()), strict=True))


def _all_of(parts: list[Rule]) -> Rule:
    """The conjunction, with packed texts as people say them: `causal ∧ document`.

    transformers asks a packed mask about the positions within a text. Within one text distances are the same by
    position and by index, and beyond it nothing is seen, so rules of distance alone need not be asked by position.
    """
    documents = [part.document.array for part in parts if isinstance(part, Document)]
    return all_of(*(_by_index(part, documents) if isinstance(part, Repositioned) else part for part in parts))


def _by_index(part: Repositioned, documents: list[IntArray]) -> Rule:
    of_distance = all(isinstance(leaf, Causal | Window | Band | Everything) for leaf in part.rule.leaves())
    shift = part.position.array - np.arange(part.position.array.shape[1])
    for document in documents:
        same = (document[:, 1:] == document[:, :-1]) <= (shift[:, 1:] == shift[:, :-1])
        if of_distance and document.shape == shift.shape and same.all():
            return part.rule
    return part


def _span_of_types(cells: Cells) -> Rule:
    """Gemma 3 and PaliGemma before transformers 5.10: runs of tokens whose type is 1 see themselves whole."""
    groups, types = to_array(cells["image_group_ids"]), to_array(cells["token_type_ids"])
    return Span(Content(np.where(types == 1, groups, -1), np.int64))


def _integers(tensor: torch.Tensor) -> Content:
    return Content(to_array(tensor), np.int64)


def _window(cells: Cells) -> Rule:
    """T5Gemma 2's windows: `size` tokens to one side, its own included; or half of it to each, the odd one behind."""
    size = int(cells["sliding_window"])
    if cells.get("is_causal", True):
        return _two_sided(size, 0)
    return _two_sided((size + 1) // 2, size // 2)


def _window_of_two(cells: Cells) -> Rule:
    """Gemma 4's and Moonshine's windows: tokens behind, the own included, and tokens ahead, the own included too."""
    behind, ahead = cells["sliding_window"]
    return _two_sided(int(behind), max(int(ahead) - 1, 0))


def _two_sided(behind: int, ahead: int) -> Rule:
    return all_of(Window(behind), Ahead(ahead)) if ahead else all_of(Causal(), Window(behind))


def _any_of(parts: list[Rule]) -> Rule:
    """The disjunction, without the causal window that a band as wide stands beside (Gemma 3's, made bidirectional)."""
    reach = max((part.reach for part in parts if isinstance(part, Band)), default=-1)
    narrow = {all_of(Causal(), Window(size)) for size in _sizes(parts) if size <= reach + 1}
    return any_of(*(part for part in parts if part not in narrow))


def _sizes(parts: list[Rule]) -> set[int]:
    return {leaf.size for part in parts for leaf in part.leaves() if isinstance(leaf, Window)}


_OF_MASKS: dict[str, Callable[[Cells], Rule]] = {
    "causal_mask_function": lambda _: Causal(),
    "bidirectional_mask_function": lambda _: Everything(),
    "and_masks.<locals>.and_mask": lambda c: _all_of([rule_of(one) for one in c["mask_functions"]]),
    "or_masks.<locals>.or_mask": lambda c: _any_of([rule_of(one) for one in c["mask_functions"]]),
    "sliding_window_overlay.<locals>.inner_mask": lambda c: Window(int(c["sliding_window"])),
    "sliding_window_bidirectional_overlay.<locals>.inner_mask": lambda c: Band(int(c["sliding_window"])),
    "chunked_overlay.<locals>.inner_mask": lambda c: Chunk(int(c["chunk_size"]), _integers(c["left_padding"])),
    "blockwise_overlay.<locals>.inner_mask": lambda c: Span(_integers(c["block_sequence_ids"])),
    "padding_mask_function.<locals>.inner_mask": lambda c: Padding(Content(to_array(c["padding_mask"]), np.bool_)),
    "packed_sequence_mask_function.<locals>.inner_mask": lambda c: Document(_integers(c["packed_sequence_mask"])),
    "remap_positions_for_packed_sequence.<locals>.inner_mask": lambda c: Repositioned(
        rule_of(c["mask_function"]), _integers(c["position_ids"])
    ),
}
# Made by the files of single models; image spans so before transformers 5.10.
_OF_MODELS: dict[tuple[str, str], Callable[[Cells], Rule]] = {
    ("t5gemma2", "sliding_window_mask_function.<locals>.inner_mask"): _window,
    ("gemma4", "sliding_window_mask_function.<locals>.inner_mask"): _window_of_two,
    ("moonshine_streaming", "sliding_window_mask_function.<locals>.inner_mask"): _window_of_two,
    ("gemma3", "_bidirectional_window_overlay.<locals>.inner_mask"): lambda c: Band(int(c["sliding_window"]) - 1),
    ("step3p7", "_bidirectional_window_overlay.<locals>.inner_mask"): lambda c: Band(int(c["sliding_window"]) - 1),
    ("gemma3", "token_type_ids_mask_function.<locals>.inner_mask"): _span_of_types,
    ("git", "token_type_ids_mask_function.<locals>.inner_mask"): _span_of_types,
    ("paligemma", "token_type_ids_mask_function.<locals>.inner_mask"): _span_of_types,
}
_READERS = {(_MASKS, name): reader for name, reader in _OF_MASKS.items()} | {
    (f"{_MODELS}.{model}.modeling_{model}", name): reader for (model, name), reader in _OF_MODELS.items()
}


def _are_named_so() -> bool:
    known = {
        Causal(): masking_utils.causal_mask_function,
        Window(3): masking_utils.sliding_window_overlay(3),
        all_of(Causal(), Window(3)): masking_utils.sliding_window_causal_mask_function(3),
    }
    return all(str(rule_of(function)) == str(rule) for rule, function in known.items())


_OF_MASK_FUNCTIONS = (Canary("the functions masks are composed of", "transformers", _are_named_so),)


# What every file calls the eager attention of its own, and the registry it asks for all others.
EAGER, _REGISTRY = "eager_attention_forward", "ALL_ATTENTION_FUNCTIONS"
_NAME = "eager attention"


def names_seen_by(module: torch.nn.Module) -> dict[str, Any]:
    """The globals of a module's forward: of the file it is written in, also where a subclass inherits it."""
    names: dict[str, Any] = getattr(inspect.unwrap(type(module).forward), "__globals__", {})
    return names


def uses_interface(module: torch.nn.Module) -> bool:
    """Whether the file a module's forward is written in calls transformers' attention interface."""
    return _REGISTRY in names_seen_by(module)


@contextmanager
def eager_attention_replaced(
    model: torch.nn.Module, listener: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Put a listener in the place of the eager attention of every file the model's modules are written in.

    Args:
        model: The model.
        listener: From the original to what is called instead.

    Raises:
        MovedError: its files call the attention interface, and none has an eager attention: they would be heard by
            their softmax alone.
    """
    with_interface = [names for names in _files(model) if _REGISTRY in names]
    with_eager = [names for names in _files(model) if EAGER in names]
    if with_interface and not with_eager:
        raise MovedError(_NAME)
    with ExitStack() as block:
        for names in with_eager:
            block.enter_context(replaced(names, {EAGER: listener(names[EAGER])}))
        yield


@contextmanager
def attention_replaced(
    model: torch.nn.Module, name: str, listener: Callable[[Callable[..., Any]], Callable[..., Any]]
) -> Iterator[None]:
    """Put a listener in the place of a registered attention function, wherever the model's modules look it up.

    Args:
        model: The model.
        name: Of the implementation, such as "sdpa".
        listener: From the original to what is called instead.
    """
    registries = {id(names[_REGISTRY]): names[_REGISTRY] for names in _files(model) if _REGISTRY in names}
    with ExitStack() as block:
        for registry in registries.values():
            block.enter_context(replaced(entries_of(registry), {name: listener(registry[name])}))
        yield


def entries_of(registry: Any) -> dict[str, Any]:
    """The entries of one of transformers' registries that go before those of its class.

    Raises:
        MovedError: it keeps them elsewhere.
    """
    entries = getattr(registry, "_local_mapping", None)
    if not isinstance(entries, dict):
        raise MovedError("the registry of attention functions")
    return entries


def _files(model: torch.nn.Module) -> list[dict[str, Any]]:
    files = {id(names): names for names in map(names_seen_by, model.modules())}
    return list(files.values())


def _is_there() -> bool:
    from transformers.models.llama import modeling_llama

    names = vars(modeling_llama)
    attention = modeling_llama.LlamaAttention.forward
    return EAGER in names and _REGISTRY in names and inspect.unwrap(attention).__globals__ is names


def _registers() -> bool:
    from transformers.models.llama import modeling_llama

    registry = vars(modeling_llama)[_REGISTRY]
    return callable(registry["sdpa"]) and isinstance(registry._local_mapping, dict)


_OF_EAGER = (
    Canary(_NAME, "transformers", _is_there),
    Canary("the registry of attention functions", "transformers", _registers),
)


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


_OF_MAKERS = (
    Canary("the registry of mask functions", "transformers", _are_registered),
    Canary("what mask functions are called with", "transformers", _take_what_we_read),
)

CANARIES = (*_OF_EAGER, *_OF_MAKERS, *_OF_MASK_FUNCTIONS)
