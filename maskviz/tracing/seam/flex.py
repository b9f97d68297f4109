"""Where transformers' flex attention calls its kernel and has its block masks made."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from transformers import masking_utils
from transformers.integrations import flex_attention

from maskviz.tracing.seam.canary import Canary, has
from maskviz.tracing.seam.replacing import replaced

_KERNEL, _BLOCK_MASK = "compile_friendly_flex_attention", "create_block_mask"
_FILES = (masking_utils, flex_attention)


@contextmanager
def flex_kernel_replaced(forward: Callable[..., Any], kernel: Callable[..., Any]) -> Iterator[None]:
    """Let flex attention call a kernel of ours while the block runs.

    Args:
        forward: The attention function; models have copies of it in files of their own.
        kernel: What is called instead.
    """
    files = {id(names): names for names in (vars(flex_attention), getattr(forward, "__globals__", {}))}
    with ExitStack() as block:
        for names in files.values():
            if _KERNEL in names:
                block.enter_context(replaced(names, {_KERNEL: kernel}))
        yield


@contextmanager
def block_masks_not_compiled() -> Iterator[None]:
    """Make flex attention's masks without a compiler, which takes seconds for each and is not everywhere."""
    with ExitStack() as block:
        for names in map(vars, _FILES):
            if _BLOCK_MASK in names:
                block.enter_context(replaced(names, {_BLOCK_MASK: _not_compiled(names[_BLOCK_MASK])}))
        yield


def _not_compiled(create: Callable[..., Any]) -> Callable[..., Any]:
    return lambda *positional, **arguments: create(*positional, **{**arguments, "_compile": False})


def _is_there() -> bool:
    return has(flex_attention, _KERNEL) and any(has(one, _BLOCK_MASK) for one in _FILES)


CANARIES = (Canary("where flex attention calls its kernel", "transformers", _is_there),)
