"""Public functions of flash-attn and xformers, heard where a module's own code has them, by their documented meaning.

flash-attn (github.com/Dao-AILab/flash-attention, flash_attn_interface.py): axes are [batch, token, head, width],
queries and keys end together where `causal` is set, `window_size` counts keys to the left and right, -1 is no limit,
`alibi_slopes` times the distance is taken off the scores, `softcap` bounds them.
xformers (facebookresearch.github.io/xformers/components/ops.html): axes are [batch, token, head, width], or
[batch * head, token, width]; `attn_bias` is added to the scores.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from maskviz.core.arrays import BoolArray, FloatArray, IntArray
from maskviz.core.run.trace import Delivery
from maskviz.tracing.calling import to_floats, visible_cells
from maskviz.tracing.modules.heard import Hearing
from maskviz.tracing.seam.replacing import replaced
from maskviz.tracing.seam.scripted import as_written

Function = Callable[..., Any]


@contextmanager
def other_libraries_heard(module: torch.nn.Module, hearing: Hearing) -> Iterator[None]:
    """Hear the functions of other libraries, under whatever name the files of a module's parts have them.

    Functions of those files that torch.jit has scripted run as they are written: of a script nothing can be heard.
    """
    known = {id(function): _listener(name, function, hearing) for name, function in _installed()}
    spaces = {id(space): space for space in _namespaces(module)}
    with ExitStack() as block:
        for space in spaces.values():
            ours = {name: known[id(value)] for name, value in list(space.items()) if id(value) in known}
            ours |= {name: found for name, value in list(space.items()) if (found := as_written(value)) is not None}
            if ours:
                block.enter_context(replaced(space, ours))
        yield


def _installed() -> Iterator[tuple[str, Function]]:
    """The functions that are there, where somebody has imported their library."""
    for home, names in _FUNCTIONS.items():
        library = sys.modules.get(home)
        for name in names:
            function = getattr(library, name, None)
            if callable(function):
                yield name, function


def _namespaces(module: torch.nn.Module) -> Iterator[dict[str, Any]]:
    """The globals of every file the parts of a module are written in, and of the libraries themselves."""
    files = {one.__module__ for part in module.modules() for one in type(part).__mro__}
    for name in sorted(files | set(_FUNCTIONS)):
        found = sys.modules.get(name)
        if found is not None and not name.startswith(("torch.", "builtins")):
            yield vars(found)


def _listener(name: str, function: Function, hearing: Hearing) -> Function:
    parameters = inspect.signature(function)
    tell = _TOLD[name]

    def listening(*positional: Any, **arguments: Any) -> Any:
        if hearing.deaf:
            return function(*positional, **arguments)
        with hearing.looking_away():
            returned = function(*positional, **arguments)
            bound = parameters.bind(*positional, **arguments)
            bound.apply_defaults()
            gate = hearing.gate()
            tell(hearing, bound.arguments)
        if gate is None:
            return returned
        output, *more = returned if isinstance(returned, tuple) else (returned,)
        silenced = _silenced(output, gate, heads_and_rows=name == "memory_efficient_attention")
        return (silenced, *more) if isinstance(returned, tuple) else silenced

    return listening


def _silenced(output: torch.Tensor, gate: FloatArray, *, heads_and_rows: bool) -> torch.Tensor:
    """Gates on what heads put out: [..., token, head, width], or in groups [row, token, group, head, width].

    Args:
        output: Of the function.
        gate: float32 [head].
        heads_and_rows: Whether three axes are [row * head, token, width], and not [token, head, width].
    """
    factors = torch.as_tensor(np.array(gate), dtype=output.dtype, device=output.device)
    if output.ndim == 5:
        return output * factors.reshape(*output.shape[2:4], 1)
    if output.ndim == 3 and heads_and_rows:
        return output * factors.repeat(output.shape[0] // len(factors))[:, None, None]
    return output * factors[:, None]


def _flash(hearing: Hearing, given: dict[str, Any]) -> None:
    _keep_flash(hearing, given, given["q"], given["k"])


def _flash_packed(hearing: Hearing, given: dict[str, Any]) -> None:
    query, key, _ = given["qkv"].unbind(2)
    _keep_flash(hearing, given, query, key)


def _flash_keys_packed(hearing: Hearing, given: dict[str, Any]) -> None:
    _keep_flash(hearing, given, given["q"], given["kv"].unbind(2)[0])


def _keep_flash(hearing: Hearing, given: dict[str, Any], query: torch.Tensor, key: torch.Tensor) -> None:
    """Keep a call on [row, token, head, width]."""
    distance = _distance(query.shape[1], key.shape[1])
    slopes, bias = given.get("alibi_slopes"), None
    if slopes is not None:  # [head] or [row, head]
        bias = -slopes.float()[..., None, None] * torch.as_tensor(np.abs(distance), device=slopes.device)
    _keep(hearing, _Heard("flash-attn", query, key, _band(distance, given), bias, _has_band(given)), given)


def _flash_of_lengths(hearing: Hearing, given: dict[str, Any]) -> None:
    _keep_of_lengths(hearing, given, given["q"], given["k"])


def _flash_of_lengths_packed(hearing: Hearing, given: dict[str, Any]) -> None:
    starts = given["cu_seqlens"]
    query, key, _ = given["qkv"].unbind(1)
    _keep_of_lengths(hearing, {**given, "cu_seqlens_q": starts, "cu_seqlens_k": starts}, query, key)


def _flash_of_lengths_keys_packed(hearing: Hearing, given: dict[str, Any]) -> None:
    _keep_of_lengths(hearing, given, given["q"], given["kv"].unbind(1)[0])


def _keep_of_lengths(hearing: Hearing, given: dict[str, Any], query: torch.Tensor, key: torch.Tensor) -> None:
    """Keep a call on rows of different lengths, one behind the other: [token, head, width] and where each begins."""
    if given.get("block_table") is not None:
        hearing.unused("flash-attn over pages of a cache")
        return
    starts, key_starts = (given[name].tolist() for name in ("cu_seqlens_q", "cu_seqlens_k"))
    visible, slopes = np.zeros((query.shape[0], key.shape[0]), np.bool_), given.get("alibi_slopes")
    bias = None if slopes is None else torch.zeros(query.shape[1], *visible.shape, device=query.device)
    for row in range(len(starts) - 1):
        queries, keys = slice(starts[row], starts[row + 1]), slice(key_starts[row], key_starts[row + 1])
        distance = _distance(queries.stop - queries.start, keys.stop - keys.start)
        visible[queries, keys] = _band(distance, given)
        if bias is not None and slopes is not None:
            steep = (slopes[row] if slopes.ndim == 2 else slopes).float()
            bias[:, queries, keys] = -steep[:, None, None] * torch.as_tensor(np.abs(distance), device=bias.device)
    _keep(hearing, _Heard("flash-attn", query[None], key[None], visible, bias, True), given)


def _has_band(given: dict[str, Any]) -> bool:
    return bool(given.get("causal")) or tuple(given.get("window_size") or (-1, -1)) != (-1, -1)


def _distance(queries: int, keys: int) -> IntArray:
    """How far each key stands behind its query, [query, key]: the last query stands at the last key."""
    found: IntArray = np.arange(keys)[None, :] - (np.arange(queries)[:, None] + keys - queries)
    return found


def _band(distance: IntArray, given: dict[str, Any]) -> BoolArray:
    """bool [query, key] of `causal` and `window_size`."""
    left, right = given.get("window_size") or (-1, -1)
    right = 0 if given.get("causal") else right
    visible = np.ones(distance.shape, np.bool_)
    if left >= 0:
        visible &= distance >= -left
    if right >= 0:
        visible &= distance <= right
    return visible


def _xformers(hearing: Hearing, given: dict[str, Any]) -> None:
    query, key, bias = given["query"], given["key"], given.get("attn_bias")
    joined = query.ndim == 3
    if joined:
        query, key = query[:, :, None], key[:, :, None]
    if query.ndim == 5:  # [row, token, group, head, width]
        query, key = query.flatten(2, 3), key.flatten(2, 3)
    if bias is not None and not isinstance(bias, torch.Tensor):
        bias = bias.materialize((query.shape[0], query.shape[2], query.shape[1], key.shape[1]), torch.float32)
    elif bias is not None and bias.ndim in (3, 5):
        bias = bias[:, None] if bias.ndim == 3 else bias.flatten(1, 2)
    visible = np.ones((1, 1), np.bool_) if bias is None else visible_cells(bias)
    heard = _Heard("xformers", query, key, visible, bias, bias is not None, joined)
    _keep(hearing, heard, given)


@dataclass(frozen=True, slots=True, eq=False)
class _Heard:
    """What a function was called with.

    Attributes:
        how: The library.
        query, key: [row, token, head, width].
        visible: Broadcastable to [row, head, query, key].
        bias: Added to the scores, likewise; or None.
        given: Whether a mask was asked for.
        joined: Whether rows and heads are one axis, and what stands for heads is none.
    """

    how: str
    query: torch.Tensor
    key: torch.Tensor
    visible: BoolArray
    bias: torch.Tensor | None
    given: bool
    joined: bool = False


def _keep(hearing: Hearing, heard: _Heard, given: dict[str, Any]) -> None:
    """Keep a call, with its weights worked out."""
    query, key = heard.query.float().transpose(1, 2), heard.key.float().transpose(1, 2)
    repeated = key.repeat_interleave(query.shape[1] // key.shape[1], dim=1)
    scale = given.get("scale", given.get("softmax_scale"))
    scores = query @ repeated.transpose(-1, -2) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if given.get("softcap"):
        scores = given["softcap"] * torch.tanh(scores / given["softcap"])
    if heard.bias is not None:
        scores = scores + heard.bias.float()
    cells = torch.as_tensor(np.array(heard.visible), device=scores.device)
    weights = scores.masked_fill(~cells, -torch.inf).softmax(-1).nan_to_num(0.0)
    visible = heard.visible
    if heard.joined:
        weights, visible = weights[:, 0], visible[:, 0] if visible.ndim == 4 else visible
    added = heard.bias is not None and heard.how == "xformers"
    hearing.keep(
        heard.how,
        to_floats(weights),
        visible,
        key_heads=None if heard.joined else key.shape[1],
        given=heard.given,
        delivery=Delivery.ADDITIVE if added else Delivery.FLAG if heard.given else Delivery.NOTHING,
    )


_FUNCTIONS = {
    "flash_attn": (
        *("flash_attn_func", "flash_attn_qkvpacked_func", "flash_attn_kvpacked_func"),
        *("flash_attn_varlen_func", "flash_attn_varlen_qkvpacked_func", "flash_attn_varlen_kvpacked_func"),
    ),
    "flash_attn.flash_attn_interface": (
        *("flash_attn_func", "flash_attn_qkvpacked_func", "flash_attn_kvpacked_func"),
        *("flash_attn_varlen_func", "flash_attn_varlen_qkvpacked_func", "flash_attn_varlen_kvpacked_func"),
    ),
    "xformers.ops": ("memory_efficient_attention",),
}
_TOLD: dict[str, Callable[[Hearing, dict[str, Any]], None]] = {
    "flash_attn_func": _flash,
    "flash_attn_qkvpacked_func": _flash_packed,
    "flash_attn_kvpacked_func": _flash_keys_packed,
    "flash_attn_varlen_func": _flash_of_lengths,
    "flash_attn_varlen_qkvpacked_func": _flash_of_lengths_packed,
    "flash_attn_varlen_kvpacked_func": _flash_of_lengths_keys_packed,
    "memory_efficient_attention": _xformers,
}
