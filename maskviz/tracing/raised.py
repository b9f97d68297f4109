"""What a model raises, in words; what our own code raises keeps its traceback."""

from __future__ import annotations

import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from maskviz.core.errors import CannotTraceError
from maskviz.core.parameters import parameter
from maskviz.core.run.trace import ModelCard

_REMEDY = "check the ids, the text's length and any mask against the model's config"


@contextmanager
def explained(card: ModelCard, what: str) -> Iterator[None]:
    """Turn what a model raises in the block into a CannotTraceError that says `what` the model did."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise CannotTraceError(
            f"{card.device} has too little memory", f"cut the text, or try {parameter('device', 'cpu')}"
        ) from error
    except Exception as error:
        if isinstance(error, CannotTraceError) or is_ours(error):
            raise
        summary = (f"{type(error).__name__}: {error}".splitlines() or [""])[0]
        raise CannotTraceError(f"{card.architecture} {what}: {summary}", _REMEDY) from error


_PACKAGE = Path(__file__).parents[1]
# Libraries raise for whoever called them wrongly, and our modes hand on what the model calls: the frame around tells.
_LIBRARIES = tuple(Path(found).parent for found in (torch.__file__, np.__file__))
_STANDARD = Path(sysconfig.get_path("stdlib"))
_HANDING_ON = ("__torch_function__", "__torch_dispatch__", "_shaped", "chosen")
# Ours that call a model: what a library raises there is about what the model was called with.
_CALLING = ("called", "call_as_it_is")


def is_ours(error: BaseException) -> bool:
    """Whether our own code made a mistake, and not a model that it runs."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        ours = path.is_relative_to(_PACKAGE)
        if _is_library(path) or (ours and frame.name in _HANDING_ON):
            continue
        return ours and frame.name not in _CALLING
    return False


def _is_library(path: Path) -> bool:
    standard = path.is_relative_to(_STANDARD) and "site-packages" not in path.parts
    return standard or any(path.is_relative_to(library) for library in _LIBRARIES)
