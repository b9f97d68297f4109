"""A model is called: whether it fits, in which parts, with which random numbers, what it raises and puts out."""

from __future__ import annotations

import inspect
import random
import sysconfig
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import Cache, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.errors import CannotTraceError
from maskviz.core.machine import as_size, free_bytes
from maskviz.core.run.trace import UNKNOWN, Batch, ModelCard, OutputKind, Outputs
from maskviz.core.words import CacheKind, Role
from maskviz.core.writing import either, parameter
from maskviz.tracing.seam.implementations import cache_argument, cache_returned, copied, static_cache

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
_HANDING_ON = (
    *("__torch_function__", "__torch_dispatch__", "_shaped", "chosen"),
    *("run_on_real", "_written_on_real", "_expanded_on_real"),
)
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


def to_array(tensor: torch.Tensor) -> Any:
    """Return a tensor as an array on the CPU, 16-bit floats widened to float32."""
    tensor = tensor.detach()
    if tensor.dtype in (torch.bfloat16, torch.float16):
        tensor = tensor.float()
    return tensor.cpu().numpy()


def to_floats(tensor: torch.Tensor) -> FloatArray:
    """Return a tensor as a float32 array of its own memory: the tensor may change or go afterwards."""
    array: FloatArray = tensor.detach().to("cpu", torch.float32, copy=True).numpy()
    return array


# Code blocks with the type's minimum, -1e30 (XLNet), -1e9 or TensorFlow's old -1e4, and adds scores to it. At this
# value below its row's best a key's weight is zero in every float type: nothing that takes part is taken for blocked.
_BLOCKED = -9e3


def visible_cells(scores: torch.Tensor) -> BoolArray:
    """Return which cells of an additive mask, or of masked scores, may be attended to.

    Args:
        scores: float [..., key]: 0 or a bias where visible, a very negative number where blocked. A boolean
            tensor is taken as True = visible.

    Returns:
        bool array of the same shape, True = visible; a cell is blocked at or below -9000.
    """
    visible: BoolArray = to_array(scores if scores.dtype is torch.bool else scores > _BLOCKED)
    return visible


def main_output(returned: Any) -> torch.Tensor | None:
    """The logits, or the last hidden states, or the first tensor of what a model returned; None without any."""
    for name in ("logits", "prediction_logits", "start_logits", "last_hidden_state"):
        value = getattr(returned, name, None)
        if isinstance(value, torch.Tensor):
            return value
    values = returned.values() if isinstance(returned, dict) else returned if isinstance(returned, tuple) else ()
    return next((value for value in values if isinstance(value, torch.Tensor)), None)


def joined_output(parts: Sequence[Any]) -> torch.Tensor | None:
    """The main output of the parts of a text, [batch, token, width] joined along the tokens; else the last part's."""
    outputs = [main_output(part) for part in parts]
    known = [output for output in outputs if output is not None]
    if len(known) > 1 and len(known) == len(outputs) and all(output.ndim == 3 for output in known):
        return torch.cat(known, dim=1)
    return outputs[-1] if outputs else None


def largest_difference(plain: torch.Tensor | None, captured: torch.Tensor | None, side: Batch) -> float | None:
    """Largest absolute difference of two outputs over real tokens; padding rows differ by design and say nothing."""
    if plain is None or captured is None or plain.shape != captured.shape:
        return None
    difference = (plain.float() - captured.float()).abs()
    if difference.ndim == 3 and difference.shape[0] == side.rows and difference.shape[1] <= side.length:
        keep = side.keep[:, side.length - difference.shape[1] :]  # after a cache, the last tokens alone
        difference = difference[torch.as_tensor(keep.copy(), device=difference.device)]
    return float(difference.max()) if difference.numel() else 0.0


def kept_outputs(
    parts: Sequence[Any], batch: Batch, *, offset: int, causal: bool, labels: tuple[str, ...], independent: bool = False
) -> Outputs | None:
    """Keep logits at the places a reader looks, the loss of every token, or the hidden states.

    Args:
        parts: What the model returned for each part of the text.
        batch: What went in; the decoder's side is read where there is one.
        offset: Tokens of the text before the first part.
        causal: Whether a logit predicts the token after its position (else the token at it).
        labels: Names of the classes, for classifiers.
        independent: Whether each class is asked on its own (multi-label classification).
    """
    tensor = joined_output(parts)
    if tensor is None:
        return None
    side = _after(batch.decoder or batch, offset)
    has_logits = any(isinstance(getattr(parts[-1], n, None), torch.Tensor) for n in ("logits", "prediction_logits"))
    outputs = _kept(tensor, side, has_logits=has_logits, causal=causal, labels=labels, independent=independent)
    return outputs if outputs is None or not offset else _moved(outputs, offset)


def _after(side: Batch, offset: int) -> Batch:
    """The tokens of a side from an offset on."""
    if not offset:
        return side
    tokens = tuple(row[offset:] for row in side.tokens)
    roles = tuple(row[offset:] for row in side.roles)
    return Batch(side.ids[:, offset:], side.keep[:, offset:], tokens, roles, side.texts)


def _moved(outputs: Outputs, offset: int) -> Outputs:
    """Outputs of the tokens from an offset on, with positions counted from the text's start."""
    places = outputs.places + np.where(outputs.places[:, 1:] >= 0, [[0, offset]], 0)
    loss = outputs.token_loss
    if loss is not None:
        loss = np.concatenate([np.full((len(loss), offset), np.nan, np.float32), loss], axis=1)
    return replace(outputs, places=places, token_loss=loss)


def _kept(
    tensor: torch.Tensor, side: Batch, *, has_logits: bool, causal: bool, labels: tuple[str, ...], independent: bool
) -> Outputs | None:
    if has_logits and tensor.ndim == 2 and tensor.shape == (side.rows, len(labels)):
        rows = np.array([(row, -1) for row in range(side.rows)])
        return Outputs(_classes(labels, independent), rows, to_floats(tensor), labels)
    if tensor.ndim != 3 or tensor.shape[:2] != side.ids.shape:
        return None
    if not has_logits:
        return Outputs(
            OutputKind.HIDDEN, np.empty((0, 2), np.int64), np.empty((0, 0), np.float32), hidden=to_floats(tensor)
        )
    if tensor.shape[-1] == len(labels):
        places = np.argwhere(side.keep)
        return Outputs(_classes(labels, independent), places, _at(tensor, places), labels)
    return _language_model(tensor, side, causal)


def _classes(labels: tuple[str, ...], independent: bool) -> OutputKind:
    if len(labels) == 1:  # regression, reranking and reward models: a softmax of one logit is always 1
        return OutputKind.SCORE
    return OutputKind.LABELS if independent else OutputKind.CLASSES


def _language_model(logits: torch.Tensor, side: Batch, causal: bool) -> Outputs:
    """Outputs of logits [batch, token, vocabulary]."""
    kind = OutputKind.CAUSAL_LM if causal else OutputKind.MASKED_LM
    if causal:
        places = np.array([(row, int(np.flatnonzero(keep)[-1])) for row, keep in enumerate(side.keep) if keep.any()])
    else:
        places = np.argwhere([[role is Role.MASK for role in row] for row in side.roles])
    return Outputs(kind, places, _at(logits, places), token_loss=_token_loss(logits, side, causal))


def _at(logits: torch.Tensor, places: Any) -> FloatArray:
    rows, positions = (torch.as_tensor(np.array(column, dtype=np.int64)) for column in places.reshape(-1, 2).T)
    return to_floats(logits[rows, positions])


def predicted_tokens(side: Batch, causal: bool) -> BoolArray:
    """bool [batch, token], the tokens whose truth is known where they are predicted.

    A causal model predicts a token from the position before it, so the first real token of a text is not predicted. A
    masked model is asked at the token's own place; at a mask token the truth is not known, and none is trained on its
    special tokens. A part of an image is no word.
    """
    predicted: BoolArray = side.keep & (side.ids != UNKNOWN)
    if causal:
        predicted[:, 0] = False
        predicted[:, 1:] &= side.keep[:, :-1]
        if side.documents is not None:  # what a packed text starts with does not follow from the text before it
            predicted[:, 1:] &= side.documents[:, 1:] == side.documents[:, :-1]
    else:
        predicted &= np.array([[role not in (Role.MASK, Role.SPECIAL) for role in row] for row in side.roles])
    predicted &= np.array([[role is not Role.IMAGE for role in row] for row in side.roles])
    return predicted


def _token_loss(logits: torch.Tensor, side: Batch, causal: bool) -> FloatArray:
    """Natural-log loss float32 [batch, token] of predicting each real token; NaN where nothing predicts it."""
    loss = np.full(side.ids.shape, np.nan, dtype=np.float32)
    known = np.argwhere(predicted_tokens(side, causal) & (side.ids < logits.shape[-1]))
    for row in range(side.rows):  # one text at a time: a full log-softmax of a batch may not fit
        positions = known[known[:, 0] == row, 1]
        if not len(positions):
            continue
        index = torch.as_tensor(positions)
        scores = logits[row, index - 1 if causal else index].float().log_softmax(-1)
        truth = torch.as_tensor(side.ids[row, positions].copy(), device=scores.device)
        loss[row, positions] = to_array(-scores.gather(-1, truth[:, None])[:, 0])
    return loss
