"""What a model raises, in words; what our own code raises keeps its traceback."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from maskviz.core.errors import CannotTraceError
from maskviz.core.trace import ModelCard

_REMEDY = "check the ids, the text's length and any mask against the model's config"


@contextmanager
def explained(card: ModelCard, what: str) -> Iterator[None]:
    """Turn what a model raises in the block into a CannotTraceError that says `what` the model did."""
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise CannotTraceError(f"{card.device} has too little memory", "cut the text, or try --device cpu") from error
    except Exception as error:
        if isinstance(error, CannotTraceError) or _is_ours(error):
            raise
        summary = (f"{type(error).__name__}: {error}".splitlines() or [""])[0]
        raise CannotTraceError(f"{card.architecture} {what}: {summary}", _REMEDY) from error


# Our modes hand every operation of the model on to torch: what is raised there is the model's.
_HANDING_ON = ("__torch_function__", "__torch_dispatch__", "_shaped")


def _is_ours(error: Exception) -> bool:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return Path(last.filename).is_relative_to(Path(__file__).parents[1]) and last.name not in _HANDING_ON
