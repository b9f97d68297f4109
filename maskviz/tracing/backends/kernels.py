"""What a backend's kernel is handed: transformers' own code runs up to the kernel, which says what it got.

Whether a triangle is left to the kernel, which keys are cut off and which texts are told apart is decided by the
functions of `transformers.integrations` on their way to a kernel. They run as they are; the kernel at their end is
replaced by one that computes nothing, so that neither a GPU nor the kernel's package is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.overrides import TorchFunctionMode

from maskviz.core.arrays import BoolArray
from maskviz.core.words import Backend
from maskviz.tracing.backends.kernel_cells import (
    Sequence,
    Shape,
    added_cells,
    block_cells,
    flash_cells,
    scaled_dot_product_cells,
)
from maskviz.tracing.calling import is_ours
from maskviz.tracing.listen.taps import SDPA_PARAMETERS
from maskviz.tracing.outputs import to_array
from maskviz.tracing.seam.running import SIGNATURE, flash_kernel_replaced, flex_kernel_replaced

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
