"""What the kernels of attention backends make of what they are handed, in numpy."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.nn.attention.flex_attention import create_mask
from torch.overrides import TorchFunctionMode

from maskviz.core.arrays import BoolArray, IntArray
from maskviz.core.words import Backend
from maskviz.tracing.calling import is_ours, to_array, visible_cells
from maskviz.tracing.listen.recorder import broadcast_cells
from maskviz.tracing.listen.taps import SDPA_PARAMETERS
from maskviz.tracing.seam.implementations import SIGNATURE, flash_kernel_replaced, flex_kernel_replaced

# Rows of the batch, queries, keys.
Shape = tuple[int, int, int]


def added_cells(mask: torch.Tensor | None, shape: Shape) -> BoolArray:
    """bool [batch, 1 or head, query, key] of a mask that is added to the scores, True = may attend.

    A boolean mask is added as 0 and 1, and so blocks nothing.
    """
    if mask is None:
        return np.ones((shape[0], 1, *shape[1:]), np.bool_)
    return broadcast_cells(visible_cells(mask.float()), shape)


def scaled_dot_product_cells(mask: torch.Tensor | None, is_causal: bool, keys: int, shape: Shape) -> BoolArray:
    """bool [batch, 1 or head, query, key] of torch's scaled_dot_product_attention, True = may attend.

    Args:
        mask: bool, True = may attend, or float that is added; [batch, 1 or head, query, key].
        is_causal: Query i sees keys 0 to i, wherever the last query stands: a triangle aligned at the top left.
        keys: Keys the kernel is given, the first of the `shape`'s; the others are not seen.
        shape: Of the call.
    """
    batch, queries, all_keys = shape
    if mask is None:
        inner: BoolArray = np.ones((queries, keys), np.bool_)
        cells = np.broadcast_to(np.tril(inner) if is_causal else inner, (batch, 1, queries, keys))
    else:
        if mask.ndim == 4 and mask.shape[1] > 1:  # grouped heads take the place of a single query
            mask = mask.reshape(mask.shape[0], -1, queries, mask.shape[-1])
        cells = broadcast_cells(visible_cells(mask), (batch, queries, keys))
    return np.pad(cells, ((0, 0), (0, 0), (0, 0), (0, all_keys - keys)))


@dataclass(frozen=True, slots=True, eq=False)
class Sequence:
    """Queries and keys that a flash kernel takes for one text.

    Attributes:
        queries, keys: int64 [query], [key]: `row * length + position` of each in the batch, of the queries' and the
            keys' own length.
    """

    queries: IntArray
    keys: IntArray


def flash_cells(sequences: Iterable[Sequence], causal: bool, window: tuple[int, int], shape: Shape) -> BoolArray:
    """bool [batch, 1, query, key] of a flash attention kernel, True = may attend.

    Of a sequence of Q queries and K keys, query i stands at key i + K - Q: the last query at the last key. It sees
    keys from `left` before to `right` behind that place, both included; -1 sets no limit, and `causal` no key behind.

    Args:
        sequences: What the kernel takes for texts of their own; what is in none of them neither sees nor is seen.
        causal: Whether keys behind a query's place are blocked.
        window: (left, right), in tokens, the query's own place not counted.
        shape: Of the call.
    """
    batch, queries, keys = shape
    cells = np.zeros((batch, 1, queries, keys), np.bool_)
    left, right = window[0], 0 if causal else window[1]
    for one in sequences:
        place = np.arange(len(one.queries)) + len(one.keys) - len(one.queries)
        behind = np.arange(len(one.keys))[None] - place[:, None]  # how far a key lies behind the query's place
        seen = np.ones(behind.shape, np.bool_)
        if left >= 0:
            seen &= behind >= -left
        if right >= 0:
            seen &= behind <= right
        query, key = np.meshgrid(one.queries, one.keys, indexing="ij")
        inside = seen & (query // queries == key // keys)
        cells[query[inside] // queries, 0, query[inside] % queries, key[inside] % keys] = True
    return cells


def block_cells(block_mask: Any, added: torch.Tensor | None, shape: Shape) -> BoolArray:
    """bool [batch, 1 or head, query, key] of flex_attention, True = may attend.

    Args:
        block_mask: A BlockMask, whose function is asked about every cell; None blocks nothing.
        added: A tensor that is added to the scores, of which transformers reads the first head; or None.
        shape: Of the call.
    """
    batch, queries, keys = shape
    cells = added_cells(None if added is None else added[:, :1], shape)
    if block_mask is None:
        return cells
    heads = int(block_mask.shape[1])
    asked = create_mask(block_mask.mask_mod, batch, heads, queries, keys, device=block_mask.kv_indices.device)
    return cells & broadcast_cells(np.asarray(to_array(asked), np.bool_), shape)


Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Offered:
    """What a model's own code hands to an attention function.

    Attributes:
        module: The attention module.
        query, key, value: [batch, head, token, width].
        mask: The mask, whatever it is.
        more: Every other argument, by name.
    """

    module: torch.nn.Module
    query: torch.Tensor
    key: torch.Tensor
    value: torch.Tensor
    mask: Any
    more: Arguments = field(default_factory=dict)

    @property
    def shape(self) -> Shape:
        """Rows, queries, keys."""
        return int(self.query.shape[0]), int(self.query.shape[2]), int(self.key.shape[2])

    @property
    def masked(self) -> bool:
        """Whether a mask is among them."""
        return self.mask is not None

    @property
    def sinks(self) -> bool:
        """Whether there are attention sinks among the arguments."""
        return self.more.get("s_aux") is not None


@dataclass(frozen=True, slots=True, eq=False)
class Handed:
    """What a kernel is handed.

    Attributes:
        words: In words.
        masked: Whether a mask is among it.
        visible: bool [batch, 1 or head, query, key], what it lets through; None where it is not run.
    """

    words: str
    masked: bool
    visible: BoolArray | None


def handed(backend: Backend, forward: Callable[..., Any], offered: Offered) -> Handed:
    """Return what a backend's kernel is handed where a model's code offers its attention function something.

    Args:
        backend: The backend.
        forward: Its attention function; not called for eager attention, which is its own kernel.
        offered: What it is called with.
    """
    try:
        return _ASKED[backend](forward, offered)
    except Exception as error:  # whatever the library says about what it was offered
        if is_ours(error):
            raise
        said = (f"{type(error).__name__}: {error}".splitlines() or [""])[0].rstrip(".")
        return Handed(f"{described(offered.mask)}, and fails: {said}", offered.masked, None)


def described(mask: Any) -> str:
    """A mask in words: its type and shape."""
    if mask is None:
        return "no mask"
    if isinstance(mask, torch.Tensor):
        return f"{str(mask.dtype).removeprefix('torch.')} {list(mask.shape)}"
    size = " x ".join(str(one) for one in mask.BLOCK_SIZE)
    kept = [one for one in (mask.kv_num_blocks, mask.full_kv_num_blocks) if one is not None]
    # BlockMask.sparsity() counts a block as full also where it reaches over the end of a short text.
    blocks = mask.kv_num_blocks.numel() * mask.kv_indices.shape[-1]
    return f"BlockMask {list(mask.shape)}, {sum(int(one.sum()) for one in kept)} of {blocks} blocks of {size} computed"


def _eager(forward: Callable[..., Any], offered: Offered) -> Handed:
    del forward
    mask = offered.mask
    if mask is None:
        return Handed("no mask: every key is seen", False, added_cells(None, offered.shape))
    return Handed(f"{described(mask)}, added to the scores", True, added_cells(mask, offered.shape))


class _Kernel(TorchFunctionMode):
    """Stands for torch's scaled_dot_product_attention, and keeps what it is called with."""

    def __init__(self) -> None:
        super().__init__()
        self.got: Arguments = {}

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Any,
        positional: tuple[Any, ...] = (),
        arguments: Arguments | None = None,
    ) -> Any:
        if function is not torch.nn.functional.scaled_dot_product_attention:
            return function(*positional, **(arguments or {}))
        self.got = dict(zip(SDPA_PARAMETERS, positional, strict=False)) | (arguments or {})
        query, value = self.got["query"], self.got["value"]
        return query.new_zeros(*query.shape[:-1], value.shape[-1])


def _sdpa(forward: Callable[..., Any], offered: Offered) -> Handed:
    kernel = _Kernel()
    with kernel:
        forward(offered.module, offered.query, offered.key, offered.value, offered.mask, **offered.more)
    is_causal, keys = bool(kernel.got.get("is_causal")), int(kernel.got["key"].shape[2])
    cells = scaled_dot_product_cells(kernel.got.get("attn_mask"), is_causal, keys, offered.shape)
    words = described(offered.mask)
    if kernel.got.get("attn_mask") is not None and offered.more.get("position_bias") is not None:
        words += f", joined with the position bias: {described(kernel.got['attn_mask'])}"
    elif offered.mask is None:
        words += f", is_causal={is_causal}"
    if keys < offered.shape[2]:
        words += f", the first {keys} keys"
    return Handed(words + _dropped(offered), offered.masked, cells)


class _FlashKernel:
    """Stands for the functions of flash_attn, and keeps what it is called with.

    It is called with numbered queries and keys in place of the real ones, and so knows which it was given.
    """

    __signature__ = SIGNATURE

    def __init__(self) -> None:
        self.sequences: list[Sequence] = []
        self.got: Arguments = {}

    def __call__(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **arguments: Any) -> torch.Tensor:
        self.got = arguments
        if self.cut:
            cuts = [to_array(arguments[name][1:-1]).tolist() for name in ("cu_seqlens_q", "cu_seqlens_k")]
            parts = [np.split(_numbers(one), cut) for one, cut in zip((query, key), cuts, strict=True)]
        else:
            parts = [[_numbers(row) for row in one] for one in (query, key)]
        self.sequences = [Sequence(one, other) for one, other in zip(*parts, strict=True)]
        return query.new_zeros(*query.shape[:-1], value.shape[-1])

    @property
    def cut(self) -> bool:
        """Whether it was given the lengths of texts that follow each other, and not rows of a batch."""
        return "cu_seqlens_q" in self.got


def _flash(forward: Callable[..., Any], offered: Offered) -> Handed:
    batch, queries, keys = offered.shape
    query, key = _numbered(batch, queries), _numbered(batch, keys)
    kernel = _FlashKernel()
    with flash_kernel_replaced(kernel):
        forward(offered.module, query, key, key, offered.mask, **offered.more)
    causal, (left, right) = bool(kernel.got["causal"]), kernel.got.get("window_size", (-1, -1))
    cells = flash_cells(kernel.sequences, causal, (int(left), int(right)), offered.shape)
    words = described(offered.mask)
    words += f", cut into texts of {_lengths(kernel.sequences)} tokens" if kernel.cut else ""
    words += f", causal={causal}"
    words += f", window_size=({left}, {right})" if (left, right) != (-1, -1) else ""
    softcap = kernel.got.get("softcap")
    words += f", softcap={softcap:g}" if softcap else ""
    return Handed(words + _dropped(offered), offered.masked, cells)


def _numbered(batch: int, length: int) -> torch.Tensor:
    """float64 [batch, 1, token, 1], each token's number: a type that is cast to no other on the way."""
    return torch.arange(batch * length, dtype=torch.float64).view(batch, 1, length, 1)


def _numbers(tokens: torch.Tensor) -> Any:
    return to_array(tokens[..., 0, 0]).astype(np.int64)


def _lengths(texts: list[Sequence]) -> str:
    return ", ".join(
        str(len(one.keys)) if len(one.queries) == len(one.keys) else f"{len(one.queries)} of {len(one.keys)}"
        for one in texts
    )


def _flex(forward: Callable[..., Any], offered: Offered) -> Handed:
    got: Arguments = {}

    def kernel(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **arguments: Any) -> Any:
        got.update(arguments)
        cell = (query.shape[0], query.shape[1], query.shape[2], key.shape[2])
        # The last cell: what is indexed beyond its end fails here as it does in the kernel.
        arguments["score_mod"](query.new_zeros(()), *(torch.tensor(count - 1) for count in cell))
        return query.new_zeros(*query.shape[:-1], value.shape[-1])

    # On a CPU transformers refuses sinks: they are asked about as on a GPU, where they are applied afterwards.
    more = {name: value for name, value in offered.more.items() if name != "s_aux"}
    with flex_kernel_replaced(forward, kernel):
        forward(offered.module, offered.query, offered.key, offered.value, offered.mask, **more)
    block_mask = got.get("block_mask")
    added = offered.mask if isinstance(offered.mask, torch.Tensor) else None
    words = described(offered.mask) + (", added to the scores" if added is not None else "")
    softcap = offered.more.get("softcap")
    words += f", softcap={softcap:g}" if softcap else ""
    words += ", sinks" if offered.sinks else ""
    return Handed(words, offered.masked, block_cells(block_mask, added, offered.shape))


def _dropped(offered: Offered) -> str:
    return "; its sinks are dropped" if offered.sinks else ""


_ASKED: dict[Backend, Callable[[Callable[..., Any], Offered], Handed]] = {
    Backend.EAGER: _eager,
    Backend.SDPA: _sdpa,
    Backend.FLASH: _flash,
    Backend.FLEX: _flex,
}
