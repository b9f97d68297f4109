"""A mask of the user's own, fitted to a batch: the tensor a model is called with."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from maskviz.core.arrays import BoolArray
from maskviz.core.errors import CannotTraceError, UsageError
from maskviz.core.run.trace import Batch
from maskviz.core.writing import parameter
from maskviz.load.models.model import Loaded
from maskviz.tracing.seam.implementations import implementation_of

_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# At or below this an additive mask blocks, as in `trace.doors`.
_BLOCKED = -9e3
_SHAPES_HINT = "give [batch, token] with 1 = keep, or [batch or 1, head or 1, query or 1, key]"


@dataclass(frozen=True, slots=True, eq=False)
class GivenMask:
    """A mask as it is passed to a model.

    Attributes:
        tensor: What is passed as `attention_mask`: [batch, token], or [batch or 1, head or 1, query, key].
        visible: bool [batch or 1, head or 1, query or 1, key], True = the mask means to let the query see the key.
        notes: How it was read.
        past: Tokens before its first query, which are called without it; 0 for a mask of every query.
    """

    tensor: torch.Tensor
    visible: BoolArray
    notes: tuple[str, ...] = ()
    past: int = 0


def given_mask(loaded: Loaded, batch: Batch, tensor: torch.Tensor, past: int = 0) -> GivenMask:
    """Fit a mask to a batch, its numbers and their type left as they are.

    Args:
        loaded, batch: The model and what goes in.
        tensor: [batch, token], or [batch or 1, head or 1, query or 1, key]; behind a cache the queries may be those
            behind it alone.
        past: Tokens of the batch that go into a cache first.

    Raises:
        UsageError: its shape, type or numbers are none a mask of this batch may have.
        CannotTraceError: the model takes no such mask.
    """
    _check_values(tensor)
    parameters = inspect.signature(loaded.model.forward).parameters
    if "attention_mask" not in parameters and not any(one.kind is one.VAR_KEYWORD for one in parameters.values()):
        raise CannotTraceError(f"{loaded.card.architecture} takes no attention mask", f"leave out {parameter('mask')}")
    if tensor.ndim == 2 and tensor.shape == (batch.rows, batch.length):
        return _of_tokens(loaded, tensor)
    lifted = _with_four_axes(loaded, batch, tensor, past)
    if loaded.card.encoder_decoder:
        raise CannotTraceError(
            f"{loaded.card.architecture} hands its mask to the cross attention too, which [query, key] does not fit",
            f"give [batch, token], here {[batch.rows, batch.length]}",
        )
    _check_type(loaded, lifted)
    notes: tuple[str, ...] = ()
    if lifted.ndim != tensor.ndim:
        axes = "query, key" if tensor.ndim == 2 else "batch, query, key"
        notes = (f"the mask is read as [{axes}] and passed as {list(lifted.shape)}",)
    before = 0 if lifted.shape[2] == 1 else batch.length - lifted.shape[2]
    return GivenMask(lifted.to(loaded.device), meant_by(lifted, before), notes, before)


def _of_tokens(loaded: Loaded, tensor: torch.Tensor) -> GivenMask:
    if not bool(((tensor == 0) | (tensor == 1)).all()):
        raise UsageError("a mask of [batch, token] has numbers other than 0 and 1", "1 keeps a token, 0 hides it")
    visible = (tensor != 0).numpy()[:, None, None, :]
    notes = ("the mask is read as [batch, token]: 1 keeps a token, 0 hides it from every query",)
    return GivenMask(tensor.to(loaded.device), visible, notes)


def _with_four_axes(loaded: Loaded, batch: Batch, tensor: torch.Tensor, past: int) -> torch.Tensor:
    """The mask as [batch or 1, head or 1, query, key], of every query or of those behind a cache."""
    shape = tensor.shape
    lifted = tensor[None, None] if tensor.ndim == 2 else tensor[:, None] if tensor.ndim == 3 else tensor
    heads = {1, *loaded.card.heads}
    if (
        lifted.ndim != 4
        or lifted.shape[0] not in (1, batch.rows)
        or lifted.shape[1] not in heads
        or lifted.shape[2] not in {1, batch.length, batch.length - past}
        or lifted.shape[3] != batch.length
    ):
        size = f"{batch.rows} {'text' if batch.rows == 1 else 'texts'} of {batch.length} tokens"
        size += f", {past} of them in a cache" if past else ""
        raise UsageError(f"the mask is {list(shape)} and the batch {size}", _SHAPES_HINT)
    return lifted


def _check_values(tensor: torch.Tensor) -> None:
    """Make sure that a tensor may be a mask.

    Raises:
        UsageError: its type or a number in it is none a mask may have, or it holds nothing.
    """
    if tensor.dtype not in (torch.bool, *_INTEGERS, *_FLOATS):
        raise UsageError(f"a mask of {_named(tensor)} is none", "save it as bool (True = may attend) or float32")
    if tensor.numel() == 0:
        raise UsageError(f"the mask is {list(tensor.shape)} and holds nothing", _SHAPES_HINT)
    if tensor.is_floating_point():
        wrong = torch.isnan(tensor) | torch.isposinf(tensor)
        if bool(wrong.any()):
            place = wrong.nonzero()[0].tolist()
            raise UsageError(
                f"the mask has {float(tensor[tuple(place)])} at {place}", "0 lets a query attend, -inf blocks"
            )


def _check_type(loaded: Loaded, tensor: torch.Tensor) -> None:
    """Eager attention adds whatever it is given; the others raise on what is neither bool nor a float they know."""
    own = implementation_of(loaded.model.config)
    if own != "eager" and tensor.dtype not in (torch.bool, torch.float32, loaded.model.dtype):
        raise UsageError(
            f"the mask is {_named(tensor)}, which {own} attention in {_named(loaded.model)} does not take",
            "save it as bool (True = may attend) or float32 (0 = may attend, -inf = may not)",
        )


def _named(typed: Any) -> str:
    return str(typed.dtype).removeprefix("torch.")


def meant_by(tensor: torch.Tensor, past: int = 0) -> BoolArray:
    """Which cells [batch or 1, head or 1, query or 1, key] a mask of four axes means to leave visible, whatever the
    model makes of it; of `past` queries before its own it says nothing, and they see everything."""
    meant = _meant(tensor)
    if not past or meant.shape[2] == 1:
        return meant
    return np.pad(meant, ((0, 0), (0, 0), (past, 0), (0, 0)), constant_values=True)


def _meant(tensor: torch.Tensor) -> BoolArray:
    if not tensor.is_floating_point() or bool(((tensor == 0) | (tensor == 1)).all()):
        return np.asarray((tensor != 0).numpy(), dtype=np.bool_)
    return np.asarray((tensor > _BLOCKED).numpy(), dtype=np.bool_)
