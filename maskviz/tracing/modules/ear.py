"""One mode that hears torch's own attention in whatever module it runs: the table of functions, and what each means."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import get_ident
from typing import Any

import numpy as np
import torch
from torch.nn import functional
from torch.nn.attention.bias import CausalBias, CausalVariant
from torch.overrides import TorchFunctionMode

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.run.trace import Delivery
from maskviz.core.words import Dialect
from maskviz.tracing.calling import to_array, to_floats, visible_cells
from maskviz.tracing.modules.byhand import ByHand
from maskviz.tracing.modules.heard import HandedMask, Hearing, causal_cells, gates_along, heads_said, let_through
from maskviz.tracing.seam.flex import FLEX, flex_mask, flex_scores
from maskviz.tracing.seam.torch_names import is_mapped

OF_MHA = tuple(inspect.signature(functional.multi_head_attention_forward).parameters)
OF_SDPA = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal", "scale", "enable_gqa")
_OF_FLEX = ("query", "key", "value", "score_mod", "block_mask", "scale", "kernel_options")


class Ear(TorchFunctionMode):
    """Keeps every attention that torch is asked for while it is in force, and applies the gates of a hearing."""

    def __init__(self, hearing: Hearing) -> None:
        super().__init__()
        self._hearing, self._by_hand = hearing, ByHand(hearing)
        self._table: dict[Any, Callable[..., Any]] = {
            functional.multi_head_attention_forward: self.multi_head,
            functional.scaled_dot_product_attention: self.fused,
            torch.ops.aten.scaled_dot_product_attention: self.fused,
            torch.ops.aten.scaled_dot_product_attention.default: self.fused,
            **({} if FLEX is None else {FLEX: self.flex}),
        }

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        positional: tuple[Any, ...] = (),
        arguments: dict[str, Any] | None = None,
    ) -> Any:
        del types
        arguments = arguments or {}
        if self._hearing.deaf:
            return function(*positional, **arguments)
        heard = self._table.get(function)
        if heard is not None:
            return heard(function, positional, arguments)
        return self._by_hand(function, positional, arguments)

    def multi_head(
        self, function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any]
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """`multi_head_attention_forward`, asked for the weights of each head by the argument it has for that."""
        given = {**dict(zip(OF_MHA, positional, strict=False)), **arguments}
        query, key, heads = given["query"], given["key"], given["num_heads"]
        wanted, averaged = given.get("need_weights", True), given.get("average_attn_weights", True)
        gate = self._hearing.gate()
        if gate is not None:
            given["out_proj_weight"] = _of_heads(given["out_proj_weight"], gate)
        hinted = given.get("is_causal") and given.get("key_padding_mask") is None and not wanted
        if hinted:  # the hint alone is believed there, whatever the mask says
            output, _ = function(**given)
            given["attn_mask"] = _triangle(query.shape[0], key.shape[0], query)
        whole, weights = function(**{**given, "need_weights": True, "average_attn_weights": False})
        output, weights = (output, _looking_back(weights)) if hinted else (whole, weights)
        batched = weights if weights.ndim == 4 else weights[None]  # [row, head, query, key]
        rows, _, queries, keys = batched.shape
        padding = given.get("key_padding_mask")
        visible, delivery = _cells(given.get("attn_mask"), bool(hinted), queries, keys, rows, blocked=True)
        self._hearing.keep(
            "nn.MultiheadAttention",
            to_floats(batched),
            visible,
            rows=rows,
            heads=heads,
            key_heads=heads,
            padding=None if padding is None else _kept(padding, rows, keys),
            given=given.get("attn_mask") is not None,
            cross=not _same(query, key),
            tokens_first=query.ndim == 3 and self._hearing.where() not in self._hearing.rows_first,
            delivery=delivery,
            masks=_of_module(given.get("attn_mask"), padding),
        )
        if not wanted:
            return output, None
        return output, weights.mean(dim=-3) if averaged else weights

    def fused(self, function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
        """`scaled_dot_product_attention`: its output is its own, its weights are worked out beside it."""
        output = function(*positional, **arguments)
        given = {**dict(zip(OF_SDPA, positional, strict=False)), **arguments}
        query, key, padding = given["query"], given["key"], None
        if is_mapped(query) or is_mapped(key):
            self._hearing.unused("attention inside torch.vmap, where no number can be read")
            return output
        if query.is_nested:
            padding = _lengths(key)
            query, key = query.to_padded_tensor(0.0), key.to_padded_tensor(0.0)
        queries, keys = query.shape[-2], key.shape[-2]
        mask, causal = as_cells(given.get("attn_mask"), query, key), bool(given.get("is_causal"))
        visible, delivery = _cells(mask, causal, queries, keys)
        scale = 1 / math.sqrt(query.shape[-1]) if given.get("scale") is None else given["scale"]
        weights = _weights(query, key, scale, mask, causal=causal, padding=padding)
        self._hearing.keep(
            "scaled_dot_product_attention",
            to_floats(weights),
            visible,
            key_heads=key.shape[-3] if key.ndim > 3 else None,
            padding=None if padding is None else to_array(padding),
            given=mask is not None or causal,
            delivery=delivery,
            masks=_of_fused(mask, causal, queries, keys),
        )
        return _gated(output, self._hearing.gates.get(self._hearing.number - 1))

    def flex(self, function: Callable[..., Any], positional: tuple[Any, ...], arguments: dict[str, Any]) -> Any:
        """FlexAttention as torch writes it down for a compiler: its functions are evaluated for every cell."""
        outputs = function(*positional, **arguments)
        given = {**dict(zip(_OF_FLEX, positional, strict=False)), **arguments}
        query, key = given["query"], given["key"]
        groups = query.shape[1] // key.shape[1]
        repeated = key.repeat_interleave(groups, dim=1)
        scores = query.float() @ repeated.float().transpose(-1, -2) * given["scale"]
        scores = flex_scores(given["score_mod"], scores)
        mask = flex_mask(given["block_mask"], scores)
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1).nan_to_num(0.0)
        self._hearing.keep(
            "flex_attention",
            to_floats(weights),
            to_array(mask) & visible_cells(scores),
            rows=query.shape[0],
            heads=query.shape[1],
            key_heads=key.shape[1],
            given=True,
            delivery=Delivery.BOOLEAN,
        )
        gate = self._hearing.gates.get(self._hearing.number - 1)
        return (_gated(outputs[0], gate), *outputs[1:]) if isinstance(outputs, tuple) else _gated(outputs, gate)


def _of_module(mask: torch.Tensor | None, padding: torch.Tensor | None) -> tuple[HandedMask, ...]:
    """The masks that `nn.MultiheadAttention` is handed."""
    dialect = Dialect.TORCH_MHA_FLOAT if mask is not None and mask.is_floating_point() else Dialect.TORCH_MHA
    found = [] if mask is None else [HandedMask("attn_mask", dialect, mask)]
    if padding is not None and padding.ndim == 2:
        found.append(HandedMask("key_padding_mask", Dialect.TORCH_PADDING, padding != 0))
    return tuple(found)


def _of_fused(mask: torch.Tensor | None, causal: bool, queries: int, keys: int) -> tuple[HandedMask, ...]:
    """The mask that fused attention is handed; the flag, where queries are fewer than keys, as its triangle."""
    if mask is not None:
        return (HandedMask("attn_mask", Dialect.SDPA, mask),)
    if not causal or queries == keys:
        return ()
    return (HandedMask("is_causal", Dialect.SDPA, torch.as_tensor(causal_cells(queries, keys))),)


def _same(query: torch.Tensor, key: torch.Tensor) -> bool:
    """Whether queries and keys, [token, row, width], are made of the same tokens: one tensor, two with the same
    numbers, or queries that are the last of the keys, as behind a cache."""
    if query is key:
        return True
    last = key[len(key) - len(query) :] if len(query) <= len(key) else key
    return query.shape == last.shape and torch.equal(query, last)


def _triangle(queries: int, keys: int, like: torch.Tensor) -> torch.Tensor:
    """bool [query, key], True = blocked, as torch's modules have it."""
    return torch.ones(queries, keys, dtype=torch.bool, device=like.device).triu(1)


def _looking_back(weights: torch.Tensor) -> torch.Tensor:
    """Weights [..., query, key] of a triangle in which the keys behind its end, which `bias_k` and `add_zero_attn` add,
    are later ones, as the causal flag has it; they were left out of the triangle before."""
    later = _triangle(weights.shape[-2], weights.shape[-1], weights)
    kept = weights.masked_fill(later, 0.0)
    return kept / kept.sum(-1, keepdim=True)


def _of_heads(weight: torch.Tensor, gate: FloatArray) -> torch.Tensor:
    """A projection [out, head * width] of gated heads: a factor on what a head puts out is one on its columns."""
    factors = torch.as_tensor(np.array(gate), dtype=weight.dtype, device=weight.device)
    return weight * factors.repeat_interleave(weight.shape[1] // len(gate))


def _kept(padding: torch.Tensor, rows: int, keys: int) -> BoolArray:
    """bool [row, key], False = padding, of torch's `key_padding_mask`: True, or -inf, leaves a key out.

    Keys behind its end are those that `bias_k` and `add_zero_attn` add.
    """
    out = padding if padding.dtype is torch.bool else padding == -torch.inf
    kept = np.ones((rows, keys), np.bool_)
    kept[:, : out.shape[-1]] = ~to_array(out.reshape(-1, out.shape[-1]))
    return kept


def _cells(
    mask: torch.Tensor | None, causal: bool, queries: int, keys: int, rows: int | None = None, *, blocked: bool = False
) -> tuple[BoolArray, Delivery]:
    """Visible cells, broadcastable to [..., query, key], of a mask as torch's functions take it; and how it came.

    Args:
        mask: Boolean, or added to the scores; or None.
        causal: Whether the triangle is asked for by the flag.
        queries, keys: Of the call; a mask of fewer keys lets the rest be seen.
        rows: Rows of the batch where the mask may hold [row * head, query, key].
        blocked: Whether True leaves a key out, as in `nn.MultiheadAttention`; else it lets it in.
    """
    if mask is None:
        if causal:
            return causal_cells(queries, keys), Delivery.FLAG
        return np.ones((1, 1), np.bool_), Delivery.NOTHING
    boolean = mask.dtype is torch.bool
    cells = to_array(~mask if boolean and blocked else mask if boolean else let_through(mask))
    if cells.ndim == 3 and rows is not None:
        cells = cells.reshape(rows, -1, *cells.shape[-2:])
    if 1 < cells.shape[-1] < keys:
        more = np.ones((*cells.shape[:-1], keys - cells.shape[-1]), np.bool_)
        cells = np.concatenate([cells, more], axis=-1)
    if causal:
        cells = cells & causal_cells(queries, keys)
    return cells, Delivery.BOOLEAN if boolean else Delivery.ADDITIVE


def _lengths(nested: torch.Tensor) -> torch.Tensor:
    """bool [row, token], True for the tokens each row of a nested tensor [row, head, token, width] has."""
    lengths = [one.shape[-2] for one in nested.unbind()]
    return torch.arange(max(lengths))[None, :] < torch.tensor(lengths)[:, None]


def _weights(
    query: torch.Tensor,
    key: torch.Tensor,
    scale: float,
    mask: torch.Tensor | None,
    *,
    causal: bool,
    padding: torch.Tensor | None,
) -> torch.Tensor:
    """float32 [..., query, key] of fused attention, 0 in rows that may attend to nothing."""
    if query.ndim > 3 and key.shape[-3] != query.shape[-3]:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], dim=-3)
    scores = torch.matmul(query.float() * scale, key.float().transpose(-1, -2))
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf) if mask.dtype is torch.bool else scores + mask.float()
    if causal:
        scores = scores.masked_fill(_triangle(query.shape[-2], key.shape[-2], query), -torch.inf)
    if padding is not None:
        scores = scores.masked_fill(~padding[:, None, None, :].to(scores.device), -torch.inf)
    return scores.softmax(-1).nan_to_num_(0.0)


def as_cells(mask: torch.Tensor | None, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor | None:
    """A mask of a fused call as a tensor of numbers: a `CausalBias` holds none, and says where its triangle ends."""
    if not isinstance(mask, CausalBias):
        return mask
    queries, keys = query.shape[-2], key.shape[-2]
    behind = keys - queries if mask.variant is CausalVariant.LOWER_RIGHT else 0
    return torch.ones(queries, keys, dtype=torch.bool, device=query.device).tril(behind)


def _gated(output: torch.Tensor, gate: FloatArray | None) -> torch.Tensor:
    """Gates on what heads [..., head, query, width], or [row * head, query, width], put out."""
    if gate is None or output.ndim < 3:
        return output if gate is None else output * float(gate[0])
    if not output.is_nested:
        return output * gates_along(gate, tuple(output.shape[:-2]), output)
    factors = torch.as_tensor(np.array(gate), dtype=output.dtype, device=output.device)[:, None]
    if output.layout is torch.jagged:  # heads stand next to widths while they are multiplied
        return (output.transpose(1, 2) * factors).transpose(1, 2)
    rows = [row * factors[..., None] for row in output.unbind()]
    nested: torch.Tensor = torch.nested.as_nested_tensor(rows)
    return nested


@contextmanager
def paths_known(module: torch.nn.Module, hearing: Hearing) -> Iterator[None]:
    """Keep `hearing.running` up to date with the parts of a module that run; its hooks are afterwards as before."""
    handles = []

    def entering(path: str, part: torch.nn.Module) -> Callable[..., None]:
        heads, name = heads_said(part), type(part).__name__

        def enter(*_: Any) -> None:
            if hearing.thread == get_ident():
                hearing.ran[path] = name
                hearing.running.append((path, heads))

        return enter

    def leaving(*_: Any) -> None:
        if hearing.thread == get_ident():
            hearing.running.pop()

    try:
        for path, part in module.named_modules():
            if getattr(part, "batch_first", False) is True:
                hearing.rows_first.add(path)
            handles.append(part.register_forward_pre_hook(entering(path, part)))
            handles.append(part.register_forward_hook(leaving, always_call=True))
        yield
    finally:
        for handle in handles:
            handle.remove()
        hearing.running.clear()
