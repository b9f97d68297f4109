"""Attention of a module over a long input, added up as it is made: fused attention leaves no square behind."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from maskviz.core.arrays import BoolArray, Content
from maskviz.core.errors import CannotTraceError
from maskviz.core.rules.algebra import Everything, Opaque, Rule, all_of
from maskviz.core.rules.extents import Lengths
from maskviz.core.rules.kinds import Causal, Padding
from maskviz.core.run.long import LongCall, LongTrace
from maskviz.core.run.trace import Batch
from maskviz.core.words import Stack, Way
from maskviz.core.writing import parameter
from maskviz.tracing.calling import to_array, visible_cells
from maskviz.tracing.long.own_arithmetic import Heads, attend_by_blocks
from maskviz.tracing.long.tally import Keeping, Sides, Tallied, Tally, TilePlace, blocks_of
from maskviz.tracing.meaning.evidence import Earlier
from maskviz.tracing.meaning.hearing import layers_of
from maskviz.tracing.modules.ear import OF_MHA, OF_SDPA, Ear, as_cells
from maskviz.tracing.modules.heard import Hearing
from maskviz.tracing.modules.reading import Known, Standing, counted, side_of, stacks_of, with_padding
from maskviz.tracing.modules.subjects import TorchSubject
from maskviz.tracing.seam.torch_names import Unheard

_ROWS_AT_ONCE = 128
# Rows of each call that are compared with the fused call's own output.
_SAMPLED = 8
# Largest difference of outputs that is rounding, in float32 and else, in shares of the largest.
_ROUNDING, _ROUNDING_ELSE = 1e-4, 3e-2


@dataclass(frozen=True, slots=True, eq=False)
class _Seen:
    """What a call may see.

    Attributes:
        rule: In the words of rules.
        keep: bool [row, key], False = padding, or None.
        cross: Whether keys are other tokens than queries.
        back: Whether no query sees a later key.
    """

    rule: Rule
    keep: BoolArray | None
    cross: bool
    back: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Pooled:
    """One call as it was added up.

    Attributes:
        module: Path of its module.
        heads, key_heads, queries, keys: Of the call.
        tallied: What was added up.
        seen: What it may see.
        way: How it was computed.
        difference: Of our arithmetic from the call's own output, on sampled rows; None where the weights are its own.
    """

    module: str
    heads: int
    key_heads: int
    queries: int
    keys: int
    tallied: Tallied
    seen: _Seen
    way: Way
    difference: float | None


def pool_module(subject: TorchSubject, known: Known, keeping_of: Callable[[int], Keeping]) -> LongTrace:
    """Run a module over a long input, its attention added up as it is made.

    Args:
        subject: The module with its input.
        known: What is known beside what will be heard.
        keeping_of: What of each call is kept, for the length of the first one's longer axis.

    Raises:
        CannotTraceError: it raises, no attention is heard, or one lies on axes that cannot be told while it runs.
        UsageError: rows that are not there.
    """
    hearing = Hearing()
    ear = _PoolingEar(hearing, keeping_of, known)
    subject.heard(hearing, ear)
    calls, keeping = ear.calls, ear.keeping
    if not calls or keeping is None:
        hint = f"leave out {parameter('pool')} and {parameter('rows')}"
        raise CannotTraceError(f"{known.card.architecture} has no attention to add up", hint)
    standing = [Standing(one.module, one.seen.cross, one.keys, one.seen.back) for one in calls]
    stacks = stacks_of(standing)
    layers = layers_of([one.module for one in calls], stacks, {stack: stacks.count(stack) for stack in stacks})
    long = tuple(_long_call(*each) for each in zip(calls, stacks, layers, strict=True) if keeping.wants(each[2]))
    batch = _batch(calls, stacks, known)
    card = counted(known.card, [(one.stack, one.layer, one.heads, one.key_heads) for one in long])
    compared = _SAMPLED if any(one.difference is not None for one in long) else 0
    return LongTrace(card, batch, long, keeping.tile, keeping.rows, keeping.region, compared)


def _long_call(call: _Pooled, stack: Stack, layer: int) -> LongCall:
    tallied = call.tallied
    return LongCall(
        stack,
        layer,
        call.module,
        call.heads,
        call.key_heads,
        call.seen.rule,
        call.queries,
        call.keys,
        tallied.sums,
        tallied.largest,
        tallied.statistics,
        tallied.rows,
        tallied.region,
        call.way,
        call.difference,
    )


def _batch(calls: list[_Pooled], stacks: list[Stack], known: Known) -> Batch:
    """The sides: of the keys others attend to and of the decoder's queries, else of the first call's tokens."""
    rows = len(calls[0].tallied.sums)
    cross = next((one for one, stack in zip(calls, stacks, strict=True) if stack is Stack.CROSS), None)
    first = cross or calls[0]
    own = side_of(first.keys, known, rows, known.labels)
    if first.seen.keep is not None:
        own = with_padding(own, first.seen.keep)
    if cross is None:
        return own
    return replace(own, decoder=side_of(cross.queries, known, rows, known.target_labels, second=True))


class _PoolingEar(Ear):
    """Adds up every attention that is asked for, and keeps none whole."""

    def __init__(self, hearing: Hearing, keeping_of: Callable[[int], Keeping], known: Known) -> None:
        super().__init__(hearing)
        self.calls: list[_Pooled] = []
        self.keeping: Keeping | None = None
        self._keeping_of, self._known = keeping_of, known
        self._inside: dict[str, Any] | None = None

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        positional: tuple[Any, ...] = (),
        arguments: dict[str, Any] | None = None,
    ) -> Any:
        returned = super().__torch_function__(function, types, positional, arguments)
        while self._hearing.calls:  # it was heard whole: what is written by hand, or asked for its weights
            self._add_whole()
        return returned

    def multi_head(
        self, function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The module's projections, and between them fused attention; whole where it is asked for weights."""
        given = {**dict(zip(OF_MHA, positional, strict=False)), **arguments}
        whole = given.get("need_weights", True) or given["query"].ndim != 3 or given.get("add_zero_attn")
        if whole or given.get("bias_k") is not None or given.get("static_k") is not None:
            return super().multi_head(function, positional, arguments)
        padding, keys = given.get("key_padding_mask"), given["key"].shape[0]
        keep = None
        if padding is not None and padding.shape[-1] == keys:
            keep = ~to_array(padding if padding.dtype is torch.bool else padding == -torch.inf)
        flag = bool(given.get("is_causal")) and padding is None
        mask = None if flag else given.get("attn_mask")
        self._inside = {"keep": keep, "cross": given["query"] is not given["key"], "mask": mask}
        try:
            heads = _projected(given)
            mixed = self.fused(functional.scaled_dot_product_attention, heads, _masks(given, mask, keep, flag))
        finally:
            self._inside = None
        output = functional.linear(
            mixed.permute(2, 0, 1, 3).flatten(2), given["out_proj_weight"], given["out_proj_bias"]
        )
        return output, None

    def fused(self, function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
        given = {**dict(zip(OF_SDPA, positional, strict=False)), **arguments}
        query, key, value = given["query"], given["key"], given["value"]
        if query.ndim != 4 or query.is_nested:
            raise CannotTraceError(
                f"{self._hearing.where()}: fused attention on {query.ndim} axes is not added up",
                f"leave out {parameter('pool')}",
            )
        mask = as_cells(given.get("attn_mask"), query, key)
        causal = bool(given.get("is_causal"))
        seen, rows_of_mask = self._seen(mask, causal, query, key)
        tally = self._tally(query, key, seen)
        scale = 1 / math.sqrt(query.shape[-1]) if given.get("scale") is None else given["scale"]
        difference: float | None = None
        if rows_of_mask is None:
            with Unheard():
                extents = seen.rule.extents(Lengths(query.shape[2], key.shape[2]))
                assert extents is not None, "padding and triangles say how far each query sees"
                mixed = attend_by_blocks(Heads(query, key, value, scale), extents, self._kept(query, key).tile, tally)
            output, way = mixed.transpose(1, 2), Way.BLOCKS
            difference = self._difference(function, given, output)
        else:
            output, way = function(*positional, **arguments), Way.ROWS
            with Unheard():
                self._add_rows(tally, query, key, scale, rows_of_mask)
        self._keep(tally, (query, key), seen, way, difference)
        return output

    def _seen(
        self, mask: torch.Tensor | None, causal: bool, query: torch.Tensor, key: torch.Tensor
    ) -> tuple[_Seen, Callable[[int, int], torch.Tensor] | None]:
        """What a call may see, and rows of its mask where only these say it."""
        inside, queries, keys = self._inside or {}, query.shape[2], key.shape[2]
        keep: BoolArray | None = inside.get("keep")
        cross = inside.get("cross", queries != keys)
        triangle: Rule = Causal() if causal else Everything()
        handed = mask if self._inside is None else inside["mask"]
        if self._inside is not None and handed is not None and handed.dtype is torch.bool:
            handed = ~handed  # of a module, True leaves a key out
        if handed is not None and handed.ndim == 4 and handed.shape[1:3] == (1, 1) and handed.dtype is torch.bool:
            keep = np.broadcast_to(visible_cells(handed)[:, 0, 0], (len(query), keys))
        elif handed is not None and handed.shape[-2:] == (queries, keys) and handed.ndim == 2 and _is_triangle(handed):
            triangle = Causal()
        elif handed is not None and mask is not None:
            own = mask

            def rows(start: int, stop: int) -> torch.Tensor:
                return own if own.shape[-2] == 1 else own[..., start:stop, :]

            return _Seen(Opaque("the mask that is handed over"), keep, cross, _looks_back(own)), rows
        rule = triangle if keep is None else all_of(triangle, Padding(Content(keep, np.bool_)))
        return _Seen(rule, keep, cross, isinstance(triangle, Causal)), None

    def _kept(self, query: torch.Tensor, key: torch.Tensor) -> Keeping:
        """What of each call is kept: made for the first."""
        if self.keeping is None:
            self.keeping = self._keeping_of(max(query.shape[2], key.shape[2]))
        return self.keeping

    def _tally(self, query: torch.Tensor, key: torch.Tensor, seen: _Seen) -> Tally:
        keeping = replace(self._kept(query, key), layers=None)
        return Tally(keeping, self._sides(query, key, seen.keep, seen.cross), query.shape[1], query.device)

    def _sides(self, query: torch.Tensor, key: torch.Tensor, keep: BoolArray | None, cross: bool) -> Sides:
        rows, queries, keys = len(query), query.shape[2], key.shape[2]
        kept = np.ones((rows, keys), np.bool_) if keep is None else keep
        own = not cross and queries == keys
        ids = next((one for one in self._known.ids if one.shape == (rows, keys)), None)
        places = np.broadcast_to(np.arange(keys), (rows, keys)) if ids is None else ids
        return Sides(
            queries,
            keys,
            kept if own else np.ones((rows, queries), np.bool_),
            tuple(np.flatnonzero(row)[:1] for row in kept),
            ((np.empty(0, np.int64)),) * rows,
            tuple(np.flatnonzero(~row) for row in kept),
            own,
            tuple(Earlier(one, row, query.device) for one, row in zip(places, kept, strict=True)) if own else (),
        )

    def _add_rows(
        self,
        tally: Tally,
        query: torch.Tensor,
        key: torch.Tensor,
        scale: float,
        mask: Callable[[int, int], torch.Tensor],
    ) -> None:
        """Add up weights under a mask that only its rows tell."""
        group = query.shape[1] // key.shape[1]
        for start, stop in blocks_of(query.shape[2], self._kept(query, key).tile, _ROWS_AT_ONCE):
            part = mask(start, stop)
            for row in range(len(query)):
                keys = key[row].repeat_interleave(group, dim=0).float()
                scores = query[row, :, start:stop].float() @ keys.transpose(-1, -2) * scale
                own = part if part.ndim < 4 else part[row % len(part)]
                scores = scores.masked_fill(~own, -torch.inf) if own.dtype is torch.bool else scores + own.float()
                tally.add(TilePlace(row, 0, start, 0), scores.softmax(-1).nan_to_num_(0.0))

    def _difference(self, function: Callable[..., Any], given: dict[str, Any], output: torch.Tensor) -> float:
        """How far our output is from the call's own, on rows spread over it."""
        query, causal = given["query"], bool(given.get("is_causal"))
        places = sorted({round(one) for one in np.linspace(0, query.shape[2] - 1, _SAMPLED)})
        mask = given.get("attn_mask")
        if causal:
            mask = torch.arange(given["key"].shape[2], device=query.device)[None, :] <= torch.tensor(places)[:, None]
        elif mask is not None and mask.shape[-2] > 1:
            mask = mask[..., places, :]
        with Unheard():
            own = function(**{**given, "query": query[:, :, places], "attn_mask": mask, "is_causal": False})
        most = float((own.float() - output[:, :, places].float()).abs().nan_to_num(0.0).max())
        size = max(1.0, float(own.float().abs().nan_to_num(0.0).max()))
        allowed = _ROUNDING if query.dtype in (torch.float32, torch.float64) else _ROUNDING_ELSE
        if most > allowed * size:
            raise CannotTraceError(
                f"{self._hearing.where()}: what is added up differs by {most:.1g} from the module's own attention",
                f"leave out {parameter('pool')}",
            )
        return most

    def _add_whole(self) -> None:
        """Add up the last call that was heard whole, and let it go."""
        call = self._hearing.calls.pop()
        if call.weights.ndim != 4:
            raise CannotTraceError(
                f"{call.module or 'an attention'}: weights {call.weights.shape} are not added up",
                f"leave out {parameter('pool')}",
            )
        rows, heads, queries, keys = call.weights.shape
        weights = torch.from_numpy(call.weights)
        shape = torch.empty(rows, heads, queries, 0), torch.empty(rows, heads, keys, 0)
        cells = call.visible.reshape(-1, *call.visible.shape[-2:])
        triangle = cells.shape[1:] == (queries, keys) and _is_triangle(torch.from_numpy(np.array(cells[0])))
        rule: Rule = Causal() if triangle else Everything() if cells.all() else Opaque("unrecognised")
        cross = queries != keys if call.cross is None else call.cross
        seen = _Seen(rule, call.padding, cross, triangle)
        tally = self._tally(*shape, seen)
        for row in range(rows):
            for start, stop in blocks_of(queries, self._kept(*shape).tile, _ROWS_AT_ONCE):
                tally.add(TilePlace(row, 0, start, 0), weights[row, :, start:stop])
        self._keep(tally, shape, seen, Way.LAYER, None)

    def _keep(
        self,
        tally: Tally,
        sides: tuple[torch.Tensor, torch.Tensor],
        seen: _Seen,
        way: Way,
        difference: float | None,
    ) -> None:
        query, key = sides
        kept = tally.kept(list(range(len(self._kept(query, key).rows))))
        sizes = query.shape[1], key.shape[1], query.shape[2], key.shape[2]
        self.calls.append(_Pooled(self._hearing.where(), *sizes, kept, seen, way, difference))


def _projected(given: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Queries, keys and values [row, head, token, width] of `multi_head_attention_forward`."""
    packed, bias, heads = given["in_proj_weight"], given["in_proj_bias"], given["num_heads"]
    apart = given.get("use_separate_proj_weight")
    weights = [given[f"{one}_proj_weight"] for one in "qkv"] if apart else packed.chunk(3)
    biases = (None,) * 3 if bias is None else bias.chunk(3)
    query, key, value = (
        functional.linear(given[name], weight, own).view(*given[name].shape[:2], heads, -1).permute(1, 2, 0, 3)
        for name, weight, own in zip(("query", "key", "value"), weights, biases, strict=True)
    )
    return query, key, value


def _masks(given: dict[str, Any], mask: torch.Tensor | None, keep: BoolArray | None, flag: bool) -> dict[str, Any]:
    """What fused attention is handed for the masks of `multi_head_attention_forward`, as that joins them."""
    rows, heads = given["query"].shape[1], given["num_heads"]
    like = given["query"]
    joined = None
    if mask is not None:
        joined = (
            torch.zeros_like(mask, dtype=like.dtype).masked_fill(mask, -torch.inf) if mask.dtype is torch.bool else mask
        )
        joined = joined.view(rows, heads, *mask.shape[1:]) if mask.ndim == 3 else joined
    if keep is not None:
        kept = torch.as_tensor(keep.copy(), device=like.device)[:, None, None, :]
        hidden = torch.zeros(kept.shape, dtype=like.dtype, device=like.device).masked_fill(~kept, -torch.inf)
        joined = hidden if joined is None else joined + hidden
    return {"attn_mask": joined, "is_causal": flag}


def _looks_back(mask: torch.Tensor) -> bool:
    """Whether a mask [..., query, key] shows no query a later key, and hides one."""
    queries, keys = mask.shape[-2:]
    whole = mask if mask.dtype is torch.bool else mask > -9e3
    return 1 < queries <= keys and not bool(whole.triu(1 + keys - queries).any())


def _is_triangle(mask: torch.Tensor) -> bool:
    """Whether a mask [query, key], True or 0 = visible, lets each query see the keys up to its own, and no other."""
    queries, keys = mask.shape
    if queries != keys:
        return False
    whole = mask if mask.dtype is torch.bool else mask > -9e3
    if mask.is_floating_point() and bool(mask.masked_fill(~whole, 0.0).any()):
        return False  # it also adds numbers to what is seen
    own = torch.arange(1, queries + 1, device=mask.device)
    return bool((whole.sum(-1) == own).all()) and not bool(whole.triu(1).any())
