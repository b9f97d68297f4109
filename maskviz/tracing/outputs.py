"""What a model puts out, as numpy arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from maskviz.core.arrays import BoolArray, FloatArray
from maskviz.core.run.trace import UNKNOWN, Batch, OutputKind, Outputs
from maskviz.core.words import Role


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
