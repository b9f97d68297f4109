"""Which heads stay: as few as the architecture's own code can run with."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

import numpy as np
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.pytorch_utils import Conv1D

from maskviz.ablate.projections import LAYOUTS, Projections, place
from maskviz.core.arrays import BoolArray
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.results.export import Kept
from maskviz.core.run.heads import HeadMask
from maskviz.core.run.trace import AttentionCall, Trace
from maskviz.core.words import Stack
from maskviz.core.writing import either

# What to do about a model that cannot be written.


def instead() -> str:
    """What else can be kept of heads that are to go."""
    return f"keep the head mask instead: {either('save_mask(...)', '--save mask.json')}"


def check_gates(head_mask: HeadMask) -> None:
    """Make sure that every gate is 0 or 1, and one is 0.

    Raises:
        UsageError: a head is half silenced, or none is silenced.
    """
    changed = head_mask.changed()
    for stack, head, gate in changed:
        if gate != 0:
            raise UsageError(
                f"{stack} head {head} has the gate {gate:g}: what is written keeps a head or leaves it out",
                "give gates of 0 and 1 alone",
            )
    if not changed:
        raise UsageError("the head mask silences no head", "name at least one, such as 0:3")


def layout_of(model: PreTrainedModel) -> Projections:
    """Where the heads of a model lie.

    Raises:
        CannotTraceError: its architecture is not on the list, or its class is not transformers' own.
    """
    name = type(model).__name__
    layout = LAYOUTS.get(str(model.config.model_type))
    if layout is None or not type(model).__module__.startswith("transformers.models."):
        raise CannotTraceError(
            f"{name} cannot be written without some of its heads: its layout is not known", instead()
        )
    return layout


def kept_heads(model: PreTrainedModel, plain: Trace, head_mask: HeadMask) -> tuple[Kept, ...]:
    """Return the heads of each attention module that stay.

    Where the config can name a size of heads apart from their number, all layers keep the same number, and each group
    of query heads that reads one key head too; else each layer keeps its own.

    Args:
        model: The model, with weights.
        plain: A run of it at once, whose calls say which module is which layer.
        head_mask: Gates of 0 and 1.

    Raises:
        UsageError: a gate is neither 0 nor 1, or the mask silences no head.
        CannotTraceError: the architecture is not on the list, or the model is not as the list says.
    """
    check_gates(head_mask)
    layout = layout_of(model)
    _check_modules(model, plain.calls, layout)
    if not layout.config:
        return tuple(_apart(call, _keep(call, head_mask)) for call in plain.calls)
    shapes = {(call.heads, call.key_heads) for call in plain.calls}
    if len(shapes) > 1:
        raise CannotTraceError("its layers have different numbers of heads, and its config names one", instead())
    keeps = [_keep(call, head_mask) for call in plain.calls]
    wanted = _aligned(plain.calls, keeps) if layout.aligned else keeps
    key_heads, group = _even_shape(model.config, layout, plain.calls[0], wanted)
    return tuple(
        _evenly(call, keep, needed, key_heads, group)
        for call, keep, needed in zip(plain.calls, keeps, wanted, strict=True)
    )


def narrowed_config(config: PreTrainedConfig, layout: Projections, key_heads: int, group: int) -> PreTrainedConfig:
    """A config with `key_heads` x `group` heads of the same size; raises what transformers does not accept of it."""
    heads, keys, size = layout.config
    values: dict[str, Any] = config.to_dict()
    values.pop("quantization_config", None)  # of a .gguf file, whose weights are plain numbers once they are read
    values[size] = head_size(config, layout)
    values[heads] = key_heads * group
    if hasattr(config, keys):
        values[keys] = key_heads if keys != heads else key_heads * group
    narrowed: PreTrainedConfig = type(config).from_dict(values)
    return narrowed


def head_size(config: PreTrainedConfig, layout: Projections) -> int:
    """Size of a head that a config names, or that follows from it where it names none."""
    named = getattr(config, layout.config[2], None)
    return int(named or config.hidden_size // getattr(config, layout.config[0]))


def _check_modules(model: PreTrainedModel, calls: Sequence[AttentionCall], layout: Projections) -> None:
    """The calls must be all attention modules there are, each once, with projections of plain numbers."""
    paths = [call.module for call in calls]
    modules = {path: model.get_submodule(path) for path in paths}
    kinds = {type(module) for module in modules.values()}
    alike = {path for path, module in model.named_modules() if type(module) in kinds}
    if len(set(paths)) < len(paths) or (layout.config and alike != set(paths)):
        raise CannotTraceError("its attention modules are not one for each layer that ran", instead())
    for path in paths:
        for name in (*(name for name, _ in layout.rows), layout.columns):
            try:
                projection = model.get_submodule(place(path, name))
            except AttributeError:
                raise CannotTraceError(f"{path} has no {name}: its layout is not known", instead()) from None
            if (
                type(projection) not in (nn.Linear, Conv1D)
                or not projection.get_parameter("weight").is_floating_point()
            ):
                raise CannotTraceError(
                    f"{place(path, name)} is a {type(projection).__name__}: its weights are not plain numbers",
                    instead(),
                )


def _keep(call: AttentionCall, head_mask: HeadMask) -> BoolArray:
    """bool [key head, query head of its group], False = silenced."""
    gates = head_mask.of(call.stack, call.layer)
    keep = np.ones(call.heads, np.bool_) if gates is None else np.asarray(gates[: call.heads] > 0)
    return keep.reshape(call.key_heads, -1)


def _apart(call: AttentionCall, keep: BoolArray) -> Kept:
    """What one layer keeps of its own, at least one head: projections of no rows are refused by attention kernels."""
    if call.heads != call.key_heads:
        raise CannotTraceError(f"{call.module} shares its key heads: its layout is not known", instead())
    query = tuple(np.flatnonzero(keep).tolist())
    return Kept(call.module, call.heads, call.key_heads, query or (0,), query or (0,), () if query else (0,))


def _aligned(calls: Sequence[AttentionCall], keeps: Sequence[BoolArray]) -> list[BoolArray]:
    """For each call, the heads that any layer of its stack keeps; cross attention reads no shared table."""
    pairs = sorted(zip(calls, keeps, strict=True), key=lambda pair: pair[0].stack)
    of_stack = {
        stack: np.logical_or.reduce([keep for _, keep in group])
        for stack, group in groupby(pairs, key=lambda pair: pair[0].stack)
    }
    return [
        keep if call.stack is Stack.CROSS else of_stack[call.stack] for call, keep in zip(calls, keeps, strict=True)
    ]


def _even_shape(
    config: PreTrainedConfig, layout: Projections, call: AttentionCall, wanted: Sequence[BoolArray]
) -> tuple[int, int]:
    """The fewest (key heads, query heads of each) that hold what every layer keeps and that the config accepts.

    Some configs want the number of heads to divide the width, though nothing is computed from that.
    """
    groups, group = call.key_heads, call.heads // call.key_heads
    most_groups = max(1, *(int(keep.any(axis=1).sum()) for keep in wanted))
    most_heads = max(1, *(int(keep.sum(axis=1).max()) for keep in wanted))
    shapes = [(keys, heads) for keys in range(most_groups, groups + 1) for heads in range(most_heads, group + 1)]
    for keys, heads in sorted(shapes, key=lambda shape: shape[0] * shape[1]):
        try:
            narrowed_config(config, layout, keys, heads)
        except Exception:  # transformers raises errors of its own kinds
            continue
        return keys, heads
    return groups, group


def _evenly(call: AttentionCall, keep: BoolArray, needed: BoolArray, key_heads: int, group: int) -> Kept:
    """Choose so many key heads and query heads of each: those needed first, then the first of the others."""
    keys = sorted(np.argsort(~needed.any(axis=1), kind="stable")[:key_heads].tolist())
    query = []
    for key in keys:
        chosen = sorted(np.argsort(~needed[key], kind="stable")[:group].tolist())
        query += [key * keep.shape[1] + head for head in chosen]
    silenced = np.flatnonzero(~keep.reshape(-1))
    zeroed = tuple(head for head in query if head in silenced)
    return Kept(call.module, call.heads, call.key_heads, tuple(query), tuple(keys), zeroed)
