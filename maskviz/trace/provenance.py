"""transformers' mask functions, read as rules.

transformers composes a mask of small functions (`transformers.masking_utils`), most of them closures: the
qualified name says which rule it is, the closure's cells hold its numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from maskviz.core.algebra import Everything, Opaque, Rule, all_of, any_of
from maskviz.core.arrays import Content
from maskviz.core.rules import Band, Causal, Chunk, Document, Padding, Repositioned, Span, Window
from maskviz.trace.doors import to_array

Cells = Mapping[str, Any]


def rule_of(function: Callable[..., Any]) -> Rule:
    """Return the rule a transformers mask function stands for; one that is not known becomes Opaque(its name)."""
    name = getattr(function, "__qualname__", type(function).__qualname__)
    reader = _READERS.get(name)
    if reader is None:
        module = (getattr(function, "__module__", "") or "").rpartition(".")[2]
        return Opaque(f"{module}.{name.replace('.<locals>', '')}")
    return reader(_cells(function))


def _cells(function: Callable[..., Any]) -> Cells:
    names = function.__code__.co_freevars
    return dict(zip(names, (cell.cell_contents for cell in function.__closure__ or ()), strict=True))


def _integers(tensor: torch.Tensor) -> Content:
    return Content(to_array(tensor), np.int64)


_READERS: dict[str, Callable[[Cells], Rule]] = {
    "causal_mask_function": lambda _: Causal(),
    "bidirectional_mask_function": lambda _: Everything(),
    "and_masks.<locals>.and_mask": lambda c: all_of(*map(rule_of, c["mask_functions"])),
    "or_masks.<locals>.or_mask": lambda c: any_of(*map(rule_of, c["mask_functions"])),
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
