"""What was captured joined with the rule that was read, and what is measured before either is believed."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from maskviz.core.arrays import AnyArray, BoolArray, FloatArray, IntArray
from maskviz.core.errors import CannotTraceError
from maskviz.core.machine import free_bytes
from maskviz.core.rules.algebra import Grid, Opaque, Rule, all_of
from maskviz.core.rules.kinds import Causal
from maskviz.core.rules.reasons import Reason
from maskviz.core.rules.recognise import recognise
from maskviz.core.run.trace import CONTENT, AttentionCall, Batch, Delivery, Mask, ModelCard, Trace
from maskviz.core.words import Role, Stack
from maskviz.core.writing import parameter, ranges
from maskviz.tracing.calling import (
    Calling,
    Inputs,
    called,
    explained,
    joined_output,
    largest_difference,
    main_output,
    same_randomness,
)
from maskviz.tracing.listen.recorder import Captured, Heard, Recorder
from maskviz.tracing.seam.implementations import evaluating, mapped


class Earlier:
    """The earlier places of every token of one row, looked up block by block.

    A query's induction score is the share of its attention on keys whose previous token is the query's own, earlier in
    the text (Olsson et al. 2022, "prefix matching").
    """

    def __init__(self, ids: IntArray, keep: BoolArray, device: torch.device) -> None:
        """Sort one row of ids [token]; padding stands nowhere."""
        alone = np.where(keep, ids, -1 - np.arange(len(ids)))  # padding is like nothing else
        order = np.argsort(alone, kind="stable")
        begins = np.flatnonzero(np.diff(alone[order], prepend=alone[order[:1]] - 1))
        first = np.repeat(begins, np.diff(np.append(begins, len(order))))
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        start = np.empty(len(order), np.int64)
        start[order] = first
        self._order = torch.as_tensor(order, device=device)
        self._start = torch.as_tensor(start, device=device)  # [token], where its equals begin in the order
        self._count = torch.as_tensor(rank - start, device=device)  # [token], how many of them come before it

    def mass(self, weights: torch.Tensor, first_query: int, first_key: int) -> torch.Tensor:
        """The induction score [head, query] of weights [head, query, key] whose axes begin at these tokens."""
        heads, queries, keys = weights.shape
        rows = slice(first_query, first_query + queries)
        count = self._count[rows]
        query = torch.repeat_interleave(torch.arange(queries, device=weights.device), count)
        behind = torch.arange(len(query), device=weights.device) - (count.cumsum(0) - count)[query]
        key = self._order[self._start[rows][query] + behind] + 1 - first_key
        inside = (key >= 0) & (key < keys)
        query, key = query[inside], key[inside]
        found = weights.reshape(heads, -1)[:, query * keys + key]
        return torch.zeros(heads, queries, dtype=weights.dtype, device=weights.device).index_add_(1, query, found)


def stitched(
    calls: Sequence[Captured], stacks: Sequence[Stack], calling: Calling
) -> tuple[list[Captured], list[Stack]]:
    """Join what each attention did in the shown parts: queries below each other, keys from the first token on.

    A key that a part's cache no longer held, or not yet, is blocked for its queries: so is a token outside a sliding
    window, or in the future.

    Args:
        calls: Every call of every part, in order; `Captured.part` says which.
        stacks: The stack of each call.
        calling: The parts.
    """
    if not calling.parts:
        return list(calls), list(stacks)
    groups: dict[tuple[str, int], list[tuple[Captured, Stack]]] = {}
    for call, stack in zip(calls, stacks, strict=True):
        if call.part >= calling.shown or stack is Stack.ENCODER:
            groups.setdefault((call.module, call.turn), []).append((call, stack))
    joined = [(_joined([call for call, _ in group], group[0][1], calling), group[0][1]) for group in groups.values()]
    return [call for call, _ in joined], [stack for _, stack in joined]


def _joined(calls: list[Captured], stack: Stack, calling: Calling) -> Captured:
    if stack is Stack.ENCODER:
        return calls[-1]
    visible = [_on_all_keys(call.visible, call, stack, calling) for call in calls]
    heads = max(one.shape[1] for one in visible)
    visible = [np.broadcast_to(one, (one.shape[0], heads, *one.shape[2:])) for one in visible]
    patterns = [
        _on_all_keys(call.pattern, call, stack, calling) if call.pattern is not None else None for call in calls
    ]
    known = [pattern for pattern in patterns if pattern is not None]
    return replace(
        calls[-1],
        visible=np.concatenate(visible, axis=2),
        pattern=np.concatenate(known, axis=2) if len(known) == len(patterns) else None,
        query_offset=calling.offset,
    )


def _on_all_keys(cells: AnyArray, call: Captured, stack: Stack, calling: Calling) -> AnyArray:
    """Cells [batch, head, query, key] of one part on the keys of the whole text, 0 where it had none."""
    if stack is Stack.CROSS:
        return cells
    total, end, keys = calling.ends[-1], calling.ends[call.part], cells.shape[3]
    start = max(0, end - keys)  # a static cache has room for more keys than there are yet
    laid_out = np.zeros((*cells.shape[:3], total), dtype=cells.dtype)
    stop = min(total, start + keys)
    laid_out[..., start:stop] = cells[..., : stop - start]
    return laid_out


def masks_of(calls: Sequence[Captured], heard: Sequence[Heard], keeps: Sequence[BoolArray | None]) -> list[Mask]:
    """Return the mask of each call; calls that received the same one share the object.

    Args:
        calls: The calls, in order.
        heard: The masks transformers built in the same run, in order.
        keeps: For each call bool [batch, key], False = padding, or None where the keys are no tokens.
    """
    made: list[tuple[Captured, Mask]] = []
    for call, keep in zip(calls, keeps, strict=True):
        same = next((mask for other, mask in made if _same(call, other)), None)
        made.append((call, same or _mask_of(call, heard, keep)))
    return [mask for _, mask in made]


def _same(one: Captured, other: Captured) -> bool:
    if one.bias is not other.bias or one.source is not other.source or one.query_offset != other.query_offset:
        return False
    return one.visible is other.visible or np.array_equal(one.visible, other.visible)


def _mask_of(call: Captured, heard: Sequence[Heard], keep: BoolArray | None) -> Mask:
    meaningful = None
    if call.delivery is Delivery.WEIGHTS and keep is not None and keep.shape[1] == call.visible.shape[2]:
        meaningful = keep  # the weights of a padding query lie anywhere: its cells are what the rule makes of them
    rule, offset, otherwise = _rule_of(call, heard, keep, meaningful)
    visible = call.visible
    if meaningful is not None and rule.readable:
        batch, _, queries, keys = visible.shape
        at = Grid.of(batch, queries, keys, offset)
        visible = np.where(meaningful[:, None, :, None], visible, np.broadcast_to(rule.visible(at), at.shape))
    return Mask.explained(
        visible, rule, bias=call.bias, query_offset=offset, delivery=call.delivery, otherwise=otherwise
    )


def _rule_of(
    call: Captured, heard: Sequence[Heard], keep: BoolArray | None, meaningful: BoolArray | None
) -> tuple[Rule, int, Reason]:
    """The rule a mask was built from where it came straight from transformers; else one that explains every cell;
    else one that explains a part of it, with the reason for the rest."""
    for one in heard:
        if one.tensor is call.source:
            return _checked(one, call, keep), _offset(call, one), Reason.OTHER
    explaining = [one for one in heard if _explains(one, call)]
    if explaining:  # on a short text a window blocks nothing, and nothing is what it explains
        simplest = min(explaining, key=lambda one: len(one.rule.leaves()))
        return simplest.rule, _offset(call, simplest), Reason.OTHER
    offset = call.query_offset
    if offset is None:
        offset = max(0, call.visible.shape[3] - call.visible.shape[2]) if _ends_together(call.visible) else 0
    rule = recognise(call.visible, keep, offset, meaningful)
    if not isinstance(rule, Opaque):
        return rule, offset, Reason.OTHER
    for one in heard:
        if _explains(one, call, more=True):
            return all_of(one.rule, Opaque(f"{call.module}: its own choice")), _offset(call, one), Reason.SPARSE
    return Opaque(f"{call.module}: unrecognised"), offset, Reason.OTHER


def _checked(heard: Heard, call: Captured, keep: BoolArray | None) -> Rule:
    """The rule a mask was built from, if it says of every cell what the mask does; else one that does, or an opaque one
    that keeps what was claimed."""
    rule, offset = heard.rule, _offset(call, heard)
    batch, _, queries, keys = call.visible.shape
    at = Grid.of(batch, queries, keys, offset)
    if rule.readable and bool((np.broadcast_to(rule.visible(at), at.shape) == call.visible).all()):
        return rule
    found = recognise(call.visible, keep, offset)
    if rule.readable:
        return Opaque("transformers' mask function", claimed=str(rule)) if isinstance(found, Opaque) else found
    return rule if isinstance(found, Opaque) else found


def _offset(call: Captured, heard: Heard) -> int:
    return heard.query_offset if call.query_offset is None else call.query_offset


def _explains(heard: Heard, call: Captured, *, more: bool = False) -> bool:
    """Whether a heard rule lets through just what the call may see, or that and `more`."""
    batch, _, queries, keys = call.visible.shape
    offset = heard.query_offset
    if call.query_offset is not None:
        offset = call.query_offset
    elif heard.tensor.shape[-1] != keys or heard.tensor.shape[-2] not in (1, queries):
        return False
    if not heard.rule.readable:
        return False
    at = Grid.of(batch, queries, keys, offset)
    ruled = np.broadcast_to(heard.rule.visible(at), at.shape)
    return not (call.visible & ~ruled).any() if more else bool((ruled == call.visible).all())


def _ends_together(visible: BoolArray) -> bool:
    """Whether of several queries the last alone sees the last key, as when earlier keys come from a cache."""
    if visible.shape[2] < 2:
        return False
    last: BoolArray = np.any(visible[..., -1], axis=(0, 1))
    return bool(last[-1] and not last[:-1].any())


# Above rounding in float32; in 16 bits the drift of the run itself says what rounding is.
_NOTICEABLE = 1e-3
_TIMES_THE_DRIFT = 4


def position_note(model: PreTrainedModel, inputs: Mapping[str, Any], trace: Trace) -> tuple[str, ...]:
    """A note where left padding without position ids moves the outputs of real tokens, else nothing.

    The model is run plainly with and without the positions `generate()` would pass. Models that take none, or
    whose positions do not depend on padding, agree with themselves.
    """
    batch = trace.batch
    left_padded = not batch.keep[:, 0].all()
    takes_positions = "position_ids" in inspect.signature(model.forward).parameters
    if (
        not left_padded
        or not takes_positions
        or batch.position_ids is not None
        or not trace.calls
        or trace.calls[0].stack is Stack.ENCODER
        or any(Role.IMAGE in row for row in batch.roles)  # with images, models count in two dimensions
    ):
        return ()
    keep = inputs["attention_mask"]
    positions = (keep.cumsum(dim=1) - 1).clamp(min=0)
    with torch.no_grad():
        plain = main_output(model(**inputs))
        counted = main_output(model(**inputs, position_ids=positions))
    if plain is None or counted is None or plain.shape != counted.shape or plain.shape[:2] != keep.shape:
        return ()
    moved = float((plain - counted).abs()[keep.bool()].max())
    if moved <= max(_NOTICEABLE, _TIMES_THE_DRIFT * (trace.drift or 0.0)):
        return ()
    return (
        f"left padding shifts this model's positions: with {parameter('position_ids', 'cumsum')}, as generate() calls "
        f"it, its outputs for real tokens differ by up to {moved:.2g}",
    )


# Largest share of the outputs' own size that listening may move them by before it is no longer rounding; in 16 bits
# only where the same weights could not be run in float32 beside.
_ROUNDING = {torch.float64: 1e-4, torch.float32: 1e-4, torch.bfloat16: 5e-2, torch.float16: 1e-2}
# Two runs in 16 bits that each round by one are at most this far apart.
_APART = 2.0
_LEAK = 1e-6


def doubts(trace: Trace, plain: torch.Tensor | None) -> tuple[str, ...]:
    """Sentences on what is not as it should be, none for a clean run."""
    return (*_moved(trace, plain), *_leaks(trace), *_misnamed(trace), *_unheard(trace))


def drifted(trace: Trace, plain: torch.Tensor | None) -> bool:
    """Whether listening moved the outputs by more than rounding, or to what is no number."""
    if trace.drift is None or plain is None:
        return False
    size = max(1.0, float(plain.float().abs().nan_to_num(0.0, 0.0, 0.0).max()) if plain.numel() else 1.0)
    allowed = _ROUNDING.get(plain.dtype, 1e-4) * size if trace.rounding is None else _APART * trace.rounding
    return not trace.drift <= allowed


def _moved(trace: Trace, plain: torch.Tensor | None) -> tuple[str, ...]:
    if not drifted(trace, plain) or trace.drift is None:
        return ()
    if math.isnan(trace.drift):
        return ("the model's outputs are not numbers (NaN) on this input",)
    if trace.rounding is not None:
        return (
            f"listening moved the outputs by {trace.drift:.2g}, where {trace.card.dtype} rounds them by "
            f"{trace.rounding:.2g} (beside the same weights in float32): do not rely on this run",
        )
    return (f"listening moved the outputs by {trace.drift:.2g}: more than rounding, so do not rely on this run",)


def _leaks(trace: Trace) -> tuple[str, ...]:
    """Attention on cells the mask blocks: then the mask is not the whole story."""
    leaking = [f"{call.stack} {call.layer}" for call in trace.calls if _leaked(call, trace.real_queries(call)) > _LEAK]
    return (f"attention falls on blocked cells in {', '.join(leaking)}",) if leaking else ()


def _misnamed(trace: Trace) -> tuple[str, ...]:
    """Masks that are not what the function they were made by is called."""
    said = []
    for claimed, calls in trace.misnamed().items():
        where = ", ".join(f"{call.stack} {call.layer}" for call in calls)
        said.append(
            f"the mask of {where} was made by a function that is called {claimed} and lets other cells through: "
            "its rule is not known"
        )
    return tuple(said)


def _leaked(call: AttentionCall, real: BoolArray) -> float:
    if call.pattern is None:
        return 0.0
    blocked: FloatArray = np.where(call.mask.visible, 0, call.pattern).max(axis=(1, 3))
    return float(np.max(blocked[real], initial=0.0))


def _unheard(trace: Trace) -> tuple[str, ...]:
    """Layers without a mask to show, and what they are."""
    groups: dict[tuple[Stack, str, str], list[int]] = {}
    for layer in trace.silent:
        groups.setdefault((layer.stack, layer.kind, layer.name), []).append(layer.layer)
    several = trace.card.encoder_decoder or len({*trace.stacks, *(stack for stack, _, _ in groups)}) > 1
    return tuple(
        _said(f"{stack} " if several else "", kind, name, layers) for (stack, kind, name), layers in groups.items()
    )


def _said(stack: str, kind: str, name: str, layers: list[int]) -> str:
    one = len(layers) == 1
    who = f"{stack}layer{'' if one else 's'} {ranges(layers)}"
    if kind == CONTENT:
        return f"{who}: which cells are blocked depends on content, so weights are needed to tell"
    if kind:
        return f"{who}: {kind}{f' ({name})' if name else ''}, no attention matrix"
    verb, them = ("is", "it") if one else ("are", "them")
    return f"{who} {verb} not shown: no softmax over query x key was heard in {them}"


SHORT = (torch.bfloat16, torch.float16)
# A copy in float32 may take this share of the memory that is free, and a model of more numbers is not copied at all.
_SHARE, MOST_COPIED = 0.5, 2**30


def rounding_of(
    model: PreTrainedModel, inputs: Inputs, batch: Batch, card: ModelCard, calling: Calling, plain: torch.Tensor | None
) -> float | None:
    """How far the outputs of a plain run in 16 bits are from those of the same weights in float32, on real tokens.

    Two correct ways to compute in 16 bits each round so, and may be twice as far from each other.

    Args:
        model, inputs, batch, card, calling: As given to `run`; the model is copied.
        plain: Its main output, as it runs by itself.

    Returns:
        None where it computes in more bits anyway, is too large to be copied, or does not run in float32.
    """
    if plain is None or model.dtype not in SHORT or not _fits(model):
        return None
    with ExitStack() as block:
        try:
            wide = deepcopy(model).float()
        except (RuntimeError, NotImplementedError, TypeError, ValueError):  # quantized weights are no other type's
            return None
        block.enter_context(torch.no_grad())
        block.enter_context(evaluating(wide))
        block.enter_context(same_randomness())
        try:
            with explained(card, "does not run in float32"):
                output = joined_output(called(wide, widened(inputs), calling))
        except CannotTraceError:
            return None
    return largest_difference(plain, output, batch.decoder or batch)


def widened(inputs: Inputs) -> dict[str, Any]:
    """The inputs with every float tensor in them in float32, those of a cache too."""
    return {name: mapped(value, _wide) for name, value in inputs.items()}


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor.clone()


def _fits(model: PreTrainedModel) -> bool:
    count = model.num_parameters()
    if model.device.type == "cuda":
        free: int | None = torch.cuda.mem_get_info(model.device)[0]
    else:
        free = free_bytes()
    return count <= MOST_COPIED and (free is None or count * 4 <= free * _SHARE)


def may_depart(model: PreTrainedModel, heard: Recorder) -> bool:
    """Whether a module says of itself that it is causal where its mask is not, or the other way round."""
    modules = dict(model.named_modules())
    rules = {id(one.tensor): one.rule for one in heard.heard}
    for call in heard.calls:
        if call.source is None or id(call.source) not in rules:
            continue
        causal = any(isinstance(leaf, Causal) for leaf in rules[id(call.source)].leaves())
        if causal != bool(getattr(modules.get(call.module), "is_causal", True)):
            return True
    return False
