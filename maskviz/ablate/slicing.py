"""Weights without the rows and columns of the heads that go."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from maskviz.ablate.projections import Projections, place
from maskviz.core.results.export import Kept


def sliced(model: PreTrainedModel, layout: Projections, kept: Sequence[Kept]) -> dict[str, torch.Tensor]:
    """The state of a model with smaller projections; all other tensors are the model's own.

    Args:
        model: The model.
        layout: Where its heads lie.
        kept: The heads of each attention module that stay.

    Returns:
        The tensors by name, as `state_dict` does.
    """
    state: dict[str, torch.Tensor] = model.state_dict()
    for one in kept:
        parts = {"q": (one.heads, one.query), "k": (one.key_heads, one.key)}
        for name, holds in layout.rows:
            path = place(one.module, name)
            rows = [parts[letter] for letter in holds]
            weight = f"{path}.weight"
            state[weight] = _of_heads(state[weight], _outputs(model.get_submodule(path)), rows)
            if f"{path}.bias" in state:
                state[f"{path}.bias"] = _of_heads(state[f"{path}.bias"], 0, rows)
        path = place(one.module, layout.columns)
        inputs = 1 - _outputs(model.get_submodule(path))
        state[f"{path}.weight"] = _zeroed(_of_heads(state[f"{path}.weight"], inputs, [parts["q"]]), inputs, one)
        for name, axis in layout.tables:
            path = place(one.module, name)
            if path in state:
                state[path] = _of_heads(state[path], axis, [parts["q"]])
    return state


def _outputs(projection: nn.Module) -> int:
    """The axis of a projection's weight that is its outputs: a Conv1D holds [input, output]."""
    return 1 if isinstance(projection, Conv1D) else 0


def _of_heads(tensor: torch.Tensor, axis: int, parts: Sequence[tuple[int, Sequence[int]]]) -> torch.Tensor:
    """Take heads along an axis that holds parts one after another, each of so many heads, of which some stay."""
    size, rest = divmod(tensor.shape[axis], sum(heads for heads, _ in parts))
    if rest:
        raise ValueError(f"an axis of {tensor.shape[axis]} is not made of {sum(heads for heads, _ in parts)} heads")
    places, start = [], 0
    for heads, stay in parts:
        places += [(start + head) * size + offset for head in stay for offset in range(size)]
        start += heads
    return tensor.index_select(axis, torch.tensor(places, device=tensor.device))


def _zeroed(columns: torch.Tensor, axis: int, one: Kept) -> torch.Tensor:
    """Zero the columns of silenced heads that stay; the tensor is already a copy."""
    size = columns.shape[axis] // len(one.query)
    for position, head in enumerate(one.query):
        if head in one.zeroed:
            columns.narrow(axis, position * size, size).zero_()
    return columns
