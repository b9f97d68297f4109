"""A model is called: whether it fits, in which parts, with which random numbers, and what it raises."""

from __future__ import annotations

import inspect
import random
import sysconfig
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Cache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from maskviz.core.errors import CannotTraceError
from maskviz.core.machine import as_size, free_bytes
from maskviz.core.run.trace import Batch, ModelCard
from maskviz.core.words import CacheKind
from maskviz.core.writing import either, parameter
from maskviz.tracing.seam.running import cache_argument, cache_returned, copied, static_cache

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


@dataclass(frozen=True, slots=True, eq=False)
class RandomState:
    """Where the generators of torch (on the CPU), numpy and Python are."""

    of_torch: torch.Tensor = field(default_factory=torch.get_rng_state)
    of_numpy: Any = field(default_factory=np.random.get_state)
    of_python: Any = field(default_factory=random.getstate)

    def restore(self) -> None:
        """Put the generators back there."""
        torch.set_rng_state(self.of_torch)
        np.random.set_state(self.of_numpy)
        random.setstate(self.of_python)


@contextmanager
def same_randomness(start: RandomState | None = None) -> Iterator[None]:
    """Put the generators back afterwards to where they were, so that a second run draws the same numbers.

    Args:
        start: Where they start in the block; None leaves them where they are.
    """
    before = RandomState()
    if start is not None:
        start.restore()
    try:
        yield
    finally:
        before.restore()


# Every map is held once as the model computes it and once as the trace keeps it, and drawing copies some again.
_COPIES = 3
_BYTES = 4
# Different masks a model makes at once: full, windowed and chunked layers, and a copy of each.
_MASKS = 6
# What is left of the free memory is for the model's own activations and everything else on the machine.
_SHARE = 0.7


def pattern_bytes(card: ModelCard, batch: Batch) -> int:
    """Bytes the attention of all heads takes at most while a run is traced: layers x heads x tokens^2 x 4, held
    `_COPIES` times."""
    decoder = batch.decoder.length if batch.decoder is not None else 0
    cells = sum(card.layers[:1]) * max(card.heads, default=0) * batch.length**2
    if len(card.layers) > 1:
        cells += card.layers[1] * card.heads[-1] * (decoder**2 + decoder * batch.length)
    return cells * batch.rows * _BYTES * _COPIES


def mask_bytes(batch: Batch) -> int:
    """Bytes the masks of a run without weights take at most: a few different ones, as scores, cells and reasons."""
    longest = max(batch.length, batch.decoder.length if batch.decoder is not None else 0)
    return batch.rows * longest**2 * (_BYTES + 2) * _MASKS


def check_fits(card: ModelCard, batch: Batch, *, weightless: bool = False, most: int | None = None) -> None:
    """Refuse a run whose attention maps, or whose masks alone where there are no weights, would not fit.

    Args:
        card, batch: The model and what goes in.
        weightless: Whether the model has no weights.
        most: Bytes to be used at most; None for a share of what is free.

    Raises:
        CannotTraceError: they need more.
    """
    free = usable_bytes(most)
    needed = mask_bytes(batch) if weightless else pattern_bytes(card, batch)
    if free is not None and needed > free:
        fitting = int(batch.length * (free / needed) ** 0.5)
        other = f", or {_any_length()} shows masks of any length" if weightless else ""
        raise CannotTraceError(
            f"the {'masks' if weightless else 'attention'} of {batch.rows} x {batch.length} tokens "
            f"{'need' if weightless else 'needs'} about {as_size(needed)}, {as_size(free)} are to be used",
            f"cut the text: about {fitting} tokens fit ({parameter('max_length')}){other}",
        )


def usable_bytes(most: int | None = None) -> int | None:
    """Bytes a run may use: `most`, or a share of what is free; None where the system does not say."""
    if most is not None:
        return most
    free = free_bytes()
    return None if free is None else int(free * _SHARE)


def _any_length() -> str:
    """What draws masks of any length."""
    return either("maskviz.mask(model=..., length=...)", "'maskviz mask -m MODEL --length N'")


Inputs = Mapping[str, Any]

# Arguments that run along the tokens of a part; a mask runs along every token seen so far.
_OF_PART = ("input_ids", "position_ids", "token_type_ids")


@dataclass(frozen=True, slots=True)
class Calling:
    """How a text is fed to a model.

    Attributes:
        parts: Tokens of each part, in order; empty for one plain call without them.
        shown: The first part whose attention is shown.
        cache: The kind of cache between the parts.
        filled: Whether the parts before the first that is shown are in a cache among the inputs already.
    """

    parts: tuple[int, ...] = ()
    shown: int = 0
    cache: CacheKind = CacheKind.DYNAMIC
    filled: bool = False

    @property
    def ends(self) -> tuple[int, ...]:
        """Tokens seen after each part."""
        return tuple(accumulate(self.parts))

    @property
    def offset(self) -> int:
        """Tokens in the cache before the first part that is shown."""
        return sum(self.parts[: self.shown])


@dataclass(frozen=True, slots=True, eq=False)
class MaskBehind:
    """A mask of the queries behind a cache alone.

    Attributes:
        mask: [batch or 1, head or 1, query, past + query], what they are called with.
        before: [batch, token], what the queries before them are called with, cut to their number.
    """

    mask: torch.Tensor
    before: torch.Tensor | None


def called(model: PreTrainedModel, inputs: Inputs, calling: Calling) -> tuple[Any, ...]:
    """Call a model; return what it returned for each part that is shown.

    Raises:
        CannotTraceError: parts are asked for, and the model keeps no key-value cache.
    """
    # Copies: a model writes into a cache, and XGLM's code in transformers 5.0 into the position ids it is given.
    inputs = {name: copied(one) for name, one in inputs.items()}
    if not calling.parts or calling.filled:
        return (model(**inputs),)
    returned: list[Any] = []
    state: dict[str, Any] = {"use_cache": True}
    if calling.cache is CacheKind.STATIC:
        state[cache_argument(model)] = _static_cache(model, calling)
    counted = "cache_position" in inspect.signature(model.forward).parameters
    for end, length in zip(calling.ends, calling.parts, strict=True):
        if counted:  # older releases would count a static cache's keys, and take those that are zero for none
            state["cache_position"] = torch.arange(end - length, end, device=model.device)
        output = model(**_part(inputs, calling, end - length, end), **state)
        returned.append(output)
        state |= _carried(model, output)
        if "encoder_outputs" in state:  # the encoder has read its text; the decoder goes on alone
            inputs = {name: tensor for name, tensor in inputs.items() if name != "input_ids"}
    return tuple(returned[calling.shown :])


def _part(inputs: Inputs, calling: Calling, start: int, end: int) -> dict[str, Any]:
    prefix = "decoder_" if "decoder_input_ids" in inputs else ""
    part = dict(inputs)
    for name in _OF_PART:
        if prefix + name in part:
            part[prefix + name] = part[prefix + name][:, start:end]
    name = f"{prefix}attention_mask"
    if name in part:
        # A static cache has its room for later keys from the start.
        keys = calling.ends[-1] if calling.cache is CacheKind.STATIC else end
        part[name] = _mask_of_part(part[name], start, end, keys)
    return {name: value for name, value in part.items() if value is not None}


def _mask_of_part(given: torch.Tensor | MaskBehind, start: int, end: int, keys: int) -> torch.Tensor | None:
    """The rows of a mask that a part's queries are called with, and as many of its keys where it has rows."""
    if isinstance(given, MaskBehind):
        first = given.mask.shape[3] - given.mask.shape[2]  # tokens before its first query
        if start < first:
            return None if given.before is None else given.before[:, :end]
        return given.mask[:, :, start - first : end - first, :keys]
    if given.ndim == 4:
        return (given if given.shape[2] == 1 else given[:, :, start:end])[..., :keys]
    return given[:, :end]


def _carried(model: PreTrainedModel, output: Any) -> dict[str, Any]:
    """What one part leaves to the next."""
    cache = cache_returned(output)
    if cache is None:
        raise CannotTraceError(
            f"{type(model).__name__} returns no key-value cache", "without one there are no decode steps to show"
        )
    carried: dict[str, Any] = {cache_argument(model): cache}
    hidden = getattr(output, "encoder_last_hidden_state", None)
    if hidden is not None:
        carried["encoder_outputs"] = BaseModelOutput(last_hidden_state=hidden)
    return carried


def _static_cache(model: PreTrainedModel, calling: Calling) -> Cache:
    try:
        return static_cache(model, calling.ends[-1])
    except Exception as error:  # whatever the library says about the config
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise CannotTraceError(
            f"{type(model).__name__} takes no static cache: {said}", f"try {parameter('cache', 'dynamic')}"
        ) from error


def is_weightless(model: torch.nn.Module) -> bool:
    """Whether a model's parameters are on the meta device, so that it has shapes and no numbers; those that accelerate
    brings in as a module runs (`_hf_hook`) are elsewhere in the meantime."""
    first = next(model.parameters(), None)
    return first is not None and first.device.type == "meta" and not hasattr(model, "_hf_hook")
