"""transformers' mask functions, read as rules.

transformers composes a mask of small functions (`transformers.masking_utils`), most of them closures: the
qualified name says which rule it is, the closure's cells hold its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from transformers import masking_utils

from maskviz.core.arrays import Content, IntArray
from maskviz.core.rules.algebra import Everything, Opaque, Rule, all_of, any_of
from maskviz.core.rules.brought import rule_by_readers
from maskviz.core.rules.kinds import Ahead, Band, Causal, Chunk, Document, Padding, Repositioned, Span, Window
from maskviz.core.rules.mask_function import MaskFunction
from maskviz.tracing.outputs import to_array
from maskviz.tracing.seam.replacing import Canary

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


CANARIES = (Canary("the functions masks are composed of", "transformers", _are_named_so),)
