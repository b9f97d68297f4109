"""A .gguf file is read once, however often transformers asks for it while a model is brought in."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from maskviz.tracing.seam.replacing import replaced

# What transformers asks of the gguf package: the whole file once for the config, once for the tokenizer and once for
# the weights, and the names of all tensors once for every module of the model.
_ASKED_AGAIN = ("GGUFReader", "get_tensor_name_map")


@contextmanager
def read_once(gguf_file: str | None) -> Iterator[None]:
    """In the block, what the gguf package answered is answered again without reading; nothing is kept behind it.

    Args:
        gguf_file: The file that is read, or None where the model is none: then nothing is replaced.
    """
    gguf = _package() if gguf_file is not None else None
    names = {} if gguf is None else vars(gguf)
    with replaced(names, {name: cache(names[name]) for name in _ASKED_AGAIN if name in names}):
        yield


def _package() -> Any:
    try:
        return importlib.import_module("gguf")
    except ImportError:  # said where the file is read
        return None
