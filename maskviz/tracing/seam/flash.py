"""Where transformers' flash attention asks for its kernel, and what it expects of one."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from transformers import modeling_flash_attention_utils as flash

from maskviz.tracing.seam.canary import Canary, has
from maskviz.tracing.seam.replacing import replaced

_IMPORT = "lazy_import_flash_attention"
# What flash_attn 2's flash_attn_varlen_func takes besides its tokens: transformers leaves out what it does not.
_ARGUMENTS = (
    *("cu_seqlens_q", "cu_seqlens_k", "max_seqlen_q", "max_seqlen_k", "dropout_p", "softmax_scale", "causal"),
    *("window_size", "softcap", "alibi_slopes", "deterministic", "return_attn_probs", "block_table"),
)
SIGNATURE = inspect.Signature([inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY) for name in _ARGUMENTS])


def flash_kernel_replaced(kernel: Callable[..., Any]) -> AbstractContextManager[None]:
    """A block in which flash attention runs a kernel of ours, which has `SIGNATURE`; no package is needed."""

    def imported(*_: Any, **__: Any) -> tuple[Any, Any]:
        process = flash._lazy_define_process_function(kernel)
        if hasattr(flash, "_process_with_kvcache_kwargs_fn"):  # with, or in older releases without, a paged kernel
            return (kernel, kernel, None, flash._pad_input, flash._unpad_input), (process, dict)
        return (kernel, kernel, flash._pad_input, flash._unpad_input), process

    return replaced(vars(flash), {_IMPORT: imported})


def _is_there() -> bool:
    return has(flash, _IMPORT, "_lazy_define_process_function", "_pad_input", "_unpad_input")


CANARIES = (Canary("where flash attention asks for its kernel", "transformers", _is_there),)
