"""Public functions of flash-attn and xformers, heard where a module's own code has them, by their documented meaning.

flash-attn (github.com/Dao-AILab/flash-attention, flash_attn_interface.py): axes are [batch, token, head, width],
queries and keys end together where `causal` is set, `window_size` counts keys to the left and right, -1 is no limit.
xformers (facebookresearch.github.io/xformers/components/ops.html): axes are [batch, token, head, width], or
[batch * head, token, width]; `attn_bias` is added to the scores.
"""

from __future__ import annotations

import inspect
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

from maskviz.core.arrays import BoolArray
from maskviz.core.run.trace import Delivery
from maskviz.tracing.calling import to_array, to_floats
from maskviz.tracing.modules.heard import Hearing
from maskviz.tracing.seam.replacing import replaced

Function = Callable[..., Any]


@contextmanager
def other_libraries_heard(module: torch.nn.Module, hearing: Hearing) -> Iterator[None]:
    """Hear the functions of other libraries, under whatever name the files of a module's parts have them."""
    known = {id(function): _listener(name, function, hearing) for name, function in _installed()}
    spaces = {id(space): space for space in _namespaces(module)} if known else {}
    with ExitStack() as block:
        for space in spaces.values():
            ours = {name: known[id(value)] for name, value in list(space.items()) if id(value) in known}
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
        factors = torch.as_tensor(np.array(gate), dtype=output.dtype, device=output.device)
        wide = factors if output.ndim < 3 else factors[:, None]
        silenced = output * wide
        return (silenced, *more) if isinstance(returned, tuple) else silenced

    return listening


def _flash(hearing: Hearing, given: dict[str, Any]) -> None:
    _keep_flash(hearing, given, given["q"], given["k"])


def _flash_packed(hearing: Hearing, given: dict[str, Any]) -> None:
    query, key, _ = given["qkv"].unbind(2)
    _keep_flash(hearing, given, query, key)


def _flash_keys_packed(hearing: Hearing, given: dict[str, Any]) -> None:
    _keep_flash(hearing, given, given["q"], given["kv"].unbind(2)[0])


def _keep_flash(hearing: Hearing, given: dict[str, Any], query: torch.Tensor, key: torch.Tensor) -> None:
    """Keep a call on [batch, token, head, width]."""
    visible = _band(query.shape[1], key.shape[1], given)
    _keep(hearing, "flash-attn", query, key, visible, given.get("softmax_scale"), _has_band(given))


def _flash_of_lengths(hearing: Hearing, given: dict[str, Any]) -> None:
    """Keep a call on rows of different lengths, one behind the other: [token, head, width] and where each begins."""
    query, key = given["q"], given["k"]
    starts, key_starts = (given[name].tolist() for name in ("cu_seqlens_q", "cu_seqlens_k"))
    visible = np.zeros((query.shape[0], key.shape[0]), np.bool_)
    for row in range(len(starts) - 1):
        queries, keys = slice(starts[row], starts[row + 1]), slice(key_starts[row], key_starts[row + 1])
        visible[queries, keys] = _band(queries.stop - queries.start, keys.stop - keys.start, given)
    _keep(hearing, "flash-attn", query[None], key[None], visible, given.get("softmax_scale"), given=True)


def _has_band(given: dict[str, Any]) -> bool:
    return bool(given.get("causal")) or tuple(given.get("window_size") or (-1, -1)) != (-1, -1)


def _band(queries: int, keys: int, given: dict[str, Any]) -> BoolArray:
    """bool [query, key] of `causal` and `window_size`: the last query stands at the last key."""
    at = np.arange(queries)[:, None] + keys - queries
    key = np.arange(keys)[None, :]
    left, right = given.get("window_size") or (-1, -1)
    visible = np.ones((queries, keys), np.bool_)
    if left >= 0:
        visible &= key >= at - left
    if given.get("causal"):
        right = 0
    if right >= 0:
        visible &= key <= at + right
    return visible


def _xformers(hearing: Hearing, given: dict[str, Any]) -> None:
    query, key, bias = given["query"], given["key"], given.get("attn_bias")
    if query.ndim == 3:
        query, key = query[:, :, None], key[:, :, None]
    if query.ndim == 5:  # [batch, token, group, head, width]
        query, key = query.flatten(2, 3), key.flatten(2, 3)
    if bias is not None and not isinstance(bias, torch.Tensor):
        bias = bias.materialize((query.shape[0], query.shape[2], query.shape[1], key.shape[1]), torch.float32)
    visible = np.ones((1, 1), np.bool_) if bias is None else to_array(bias > -9e3)
    _keep(hearing, "xformers", query, key, visible, given.get("scale"), bias is not None, bias)


def _keep(
    hearing: Hearing,
    how: str,
    query: torch.Tensor,
    key: torch.Tensor,
    visible: BoolArray,
    scale: float | None,
    given: bool,
    bias: torch.Tensor | None = None,
) -> None:
    """Keep a call on queries and keys [batch, token, head, width]."""
    query, key = query.float().transpose(1, 2), key.float().transpose(1, 2)
    heads = query.shape[1]
    repeated = key.repeat_interleave(heads // key.shape[1], dim=1)
    scores = query @ repeated.transpose(-1, -2) * (scale or 1 / math.sqrt(query.shape[-1]))
    if bias is not None:
        scores = scores + bias.float()
    cells = torch.as_tensor(np.array(visible), device=scores.device)
    weights = scores.masked_fill(~cells, -torch.inf).softmax(-1).nan_to_num(0.0)
    hearing.keep(
        how,
        to_floats(weights),
        visible,
        key_heads=key.shape[1],
        given=given,
        delivery=Delivery.ADDITIVE if bias is not None else Delivery.FLAG if given else Delivery.NOTHING,
    )


_FUNCTIONS = {
    "flash_attn": (
        *("flash_attn_func", "flash_attn_qkvpacked_func", "flash_attn_kvpacked_func"),
        *("flash_attn_varlen_func",),
    ),
    "flash_attn.flash_attn_interface": (
        *("flash_attn_func", "flash_attn_qkvpacked_func", "flash_attn_kvpacked_func"),
        *("flash_attn_varlen_func",),
    ),
    "xformers.ops": ("memory_efficient_attention",),
}
_TOLD: dict[str, Callable[[Hearing, dict[str, Any]], None]] = {
    "flash_attn_func": _flash,
    "flash_attn_qkvpacked_func": _flash_packed,
    "flash_attn_kvpacked_func": _flash_keys_packed,
    "flash_attn_varlen_func": _flash_of_lengths,
    "memory_efficient_attention": _xformers,
}
