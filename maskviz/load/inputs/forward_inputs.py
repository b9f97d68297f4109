"""The arguments of a model's forward as somebody made them: passed on as they are, and what they stand for."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from transformers.utils.generic import TransformersKwargs

from maskviz.core.arrays import BoolArray, IntArray
from maskviz.core.errors import UsageError
from maskviz.core.run.trace import UNKNOWN, Batch
from maskviz.core.words import Role
from maskviz.core.writing import printable
from maskviz.load.inputs.files import read_inputs
from maskviz.load.inputs.user_mask import GivenMask, meant_by
from maskviz.load.models.model import Loaded
from maskviz.load.texts.encode import Encoded, encode, labelled, without_cache
from maskviz.load.texts.request import IDS, Request, check, check_reads_text
from maskviz.tracing.seam.implementations import cache_of, tensors_in, tokens_in


def encoded_of(loaded: Loaded, request: Request) -> Encoded:
    """A request encoded for a model: its texts or ids, or the inputs that lie in a file.

    Raises:
        MaskvizError: as `encode`, `read_inputs` and `encoded_inputs`.
    """
    if request.inputs is None:
        return encode(loaded, request)
    check(request)
    encoded = encoded_inputs(loaded, read_inputs(request.inputs))
    return replace(encoded, inputs=encoded.inputs | without_cache(loaded)) if request.no_cache else encoded


def rows_alone(encoded: Encoded) -> tuple[Encoded, ...]:
    """Each row of a batch of inputs without the others, and without its padding.

    Raises:
        UsageError: a cache or a mask of four axes is among them, whose rows are not told apart here.
    """
    if encoded.past or encoded.user_mask is not None:
        what = "a cache" if encoded.past else "a mask of four axes"
        raise UsageError(f"the inputs have {what}, and heads are silenced row by row", "give ids and their padding")
    return tuple(_row_alone(encoded, row) for row in range(encoded.batch.rows))


def _row_alone(encoded: Encoded, row: int) -> Encoded:
    batch = encoded.batch
    inputs = {
        name: _of_row(value, batch.decoder if name.startswith("decoder_") and batch.decoder else batch, row)
        for name, value in encoded.inputs.items()
    }
    own = _side_of_row(batch, row)
    decoder = None if batch.decoder is None else _side_of_row(batch.decoder, row)
    return Encoded(replace(own, decoder=decoder), inputs, encoded.notes)


def _of_row(value: Any, side: Batch, row: int) -> Any:
    """An argument [batch, ...] or [batch, token, ...] of one row, without its padding."""
    if not isinstance(value, torch.Tensor) or not value.ndim or value.shape[0] != side.rows:
        return value
    alone = value[row : row + 1]
    if alone.ndim < 2 or alone.shape[1] != side.length:
        return alone
    return alone[:, torch.as_tensor(np.array(side.keep[row]), device=value.device)]


def _side_of_row(side: Batch, row: int) -> Batch:
    kept = np.flatnonzero(side.keep[row])

    def of(numbers: IntArray | None) -> IntArray | None:
        return None if numbers is None else numbers[row : row + 1, kept]

    return Batch(
        side.ids[row : row + 1, kept],
        side.keep[row : row + 1, kept],
        (tuple(side.tokens[row][place] for place in kept),),
        (tuple(side.roles[row][place] for place in kept),),
        side.texts[row : row + 1],
        of(side.token_types),
        of(side.position_ids),
    )


# Arguments that ask for more output, or for a loss, and change no mask.
_LEFT_OUT = ("labels", "output_attentions", "output_hidden_states", "return_dict")


def encoded_inputs(loaded: Loaded, inputs: Mapping[str, Any]) -> Encoded:
    """What a model is called with, as somebody made it, such as a tokenizer's own output; nothing is repaired.

    Args:
        loaded: The model.
        inputs: The arguments of its forward: `input_ids` [batch, token], or `inputs_embeds` [batch, token, width] in
            their place; an `attention_mask` [batch, token] where there is one, 1 keeps, 0 is padding, or one of four
            axes that takes the place of the model's own; a key-value cache, behind whose tokens the ids go on. Arrays
            and numbers become tensors on the model's device.

    Raises:
        UsageError: the forward does not take an argument, there are no tokens, or an array has another shape.
        CannotTraceError: the model reads something else than tokens.
    """
    given = {name: value for name, value in inputs.items() if value is not None and name not in _LEFT_OUT}
    if "input_ids" not in given:
        check_reads_text(loaded.model)
    notes = tuple(_not_taken(loaded, given))
    tensors = {name: _tensor(name, value, loaded) for name, value in given.items()}
    cache = cache_of(tensors)
    past = 0 if cache is None else tokens_in(cache)
    of_decoder = past if loaded.card.encoder_decoder else 0
    batch = _side(loaded, _ids(loaded, tensors), _padding(tensors, "attention_mask"), past - of_decoder)
    types, positions = (_rows(tensors.get(name), batch) for name in ("token_type_ids", "position_ids"))
    batch = replace(batch, token_types=types, position_ids=positions)
    if loaded.card.encoder_decoder:
        ids = _tokens(loaded, tensors, "decoder_")
        if ids is None:
            raise UsageError("the inputs have no decoder_input_ids", f"{loaded.card.architecture} needs them")
        batch = replace(batch, decoder=_side(loaded, ids, _padding(tensors, "decoder_attention_mask"), of_decoder))
    arguments, mask = _apart(loaded, tensors, past)
    return Encoded(batch, arguments, notes, mask, past)


def _not_taken(loaded: Loaded, given: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for each argument that the forward neither names nor is known to hand on.

    Raises:
        UsageError: it would raise on one.
    """
    parameters = inspect.signature(loaded.model.forward).parameters
    named = [name for name, one in parameters.items() if one.kind in (one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD)]
    handed_on = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    for name in given:
        if name in named or (handed_on and name in TransformersKwargs.__annotations__):
            continue
        near = difflib.get_close_matches(name, named, 1, 0.6)
        nearest = f"the nearest it has is {near[0]}" if near else f"it takes {', '.join(named[:6])} ..."
        said = f"the forward of {loaded.card.architecture} takes no {printable(name)!r}"
        if not handed_on:
            raise UsageError(said, nearest)
        yield f"{said}, and passes it on to whatever may read it; {nearest}"


def _ids(loaded: Loaded, tensors: Mapping[str, Any]) -> IntArray:
    """The ids [batch, token] a model reads, in its encoder if it has one.

    They are unknown where it is given their embeddings, or what an encoder made of them.

    Raises:
        UsageError: there are none.
    """
    main = loaded.model.main_input_name if loaded.model.main_input_name in IDS else "input_ids"
    found = _tokens(loaded, tensors, "", main)
    if found is None and loaded.card.encoder_decoder and tensors.get("encoder_outputs") is not None:
        hidden = next((one for one in tensors_in(tensors["encoder_outputs"]) if one.ndim == 3), None)
        found = None if hidden is None else np.full(hidden.shape[:2], UNKNOWN, np.int64)
    if found is None:
        raise UsageError(
            f"the inputs have no {main} [batch, token]", "give a tokenizer's output with return_tensors='pt'"
        )
    return found


def _tokens(loaded: Loaded, tensors: Mapping[str, Any], prefix: str, main: str = "input_ids") -> IntArray | None:
    """The ids of one side of a model, None where it is given none."""
    ids = tensors.get(prefix + main, tensors.get(prefix + "input_ids"))
    if isinstance(ids, torch.Tensor) and ids.ndim == 2 and not ids.is_floating_point() and ids.numel():
        _check_ids(loaded, ids)
        return _array(ids)
    embedded = tensors.get(prefix + "inputs_embeds")
    if isinstance(embedded, torch.Tensor) and embedded.ndim == 3 and embedded.numel():
        return np.full(embedded.shape[:2], UNKNOWN, np.int64)
    return None


def _check_ids(loaded: Loaded, ids: torch.Tensor) -> None:
    """Refuse ids the model has no embedding for: on a GPU they would end the process."""
    vocabulary = loaded.card.vocabulary
    for token in (int(ids.min()), int(ids.max())):
        if token < 0 or (vocabulary is not None and token >= vocabulary):
            raise UsageError(f"id {token} is not in the vocabulary", f"ids run from 0 to {(vocabulary or 1) - 1}")


def _tensor(name: str, value: Any, loaded: Loaded) -> Any:
    """A tensor on the model's device; what is no array (a cache, a flag, a tuple of tensors) as it is.

    Raises:
        UsageError: a list or an array of something else than numbers, or of rows that differ in length.
    """
    if isinstance(value, np.ndarray) or (isinstance(value, list | tuple) and not any(True for _ in tensors_in(value))):
        try:
            value = torch.as_tensor(np.asarray(value))
        except (TypeError, ValueError) as error:
            raise UsageError(
                f"{printable(name)} is no array of numbers", "give rows of one length, of numbers"
            ) from error
    return value.to(loaded.device) if isinstance(value, torch.Tensor) else value


def _padding(tensors: Mapping[str, Any], name: str) -> BoolArray | None:
    """bool [batch, token] of a mask of two axes, False = padding; None for any other, and where there is none."""
    mask = tensors.get(name)
    return _array(mask) != 0 if isinstance(mask, torch.Tensor) and mask.ndim == 2 else None


def _side(loaded: Loaded, ids: IntArray, keep: BoolArray | None, past: int) -> Batch:
    """One side of a batch: what a cache holds, whose ids nobody knows any more, and the ids behind it.

    Args:
        loaded: The model.
        ids: int64 [batch, token], those behind the cache.
        keep: bool [batch, past + token] or None, False = padding.
        past: Tokens in the cache.

    Raises:
        UsageError: the mask is of another length.
    """
    rows, length = len(ids), past + ids.shape[1]
    if keep is None:
        keep = np.ones((rows, length), dtype=np.bool_)
    if keep.shape != (rows, length):
        behind = f" behind {past} tokens in the cache" if past else ""
        raise UsageError(
            f"the attention mask is {_sized(keep.shape)}, the ids are {_sized(ids.shape)}{behind}",
            f"give one for each {'token, those in the cache too' if past else 'id'}",
        )
    made = _labelled(loaded, ids, keep[:, past:])
    if not past:
        return made
    return Batch(
        np.concatenate([np.full((rows, past), UNKNOWN, np.int64), made.ids], axis=1),
        keep,
        tuple((*_numbered(past), *row) for row in made.tokens),
        tuple(
            (*(Role.TEXT if kept else Role.PADDING for kept in before), *row)
            for before, row in zip(keep[:, :past], made.roles, strict=True)
        ),
        made.texts,
    )


def _labelled(loaded: Loaded, ids: IntArray, keep: BoolArray) -> Batch:
    """A side with its tokens; where they are unknown, with their numbers."""
    texts = ("",) * len(ids)
    if not (ids == UNKNOWN).any():
        return labelled(loaded, ids, keep, texts)
    roles = tuple(tuple(Role.TEXT if kept else Role.PADDING for kept in row) for row in keep)
    return Batch(ids, keep, (_numbered(ids.shape[1]),) * len(ids), roles, texts)


def _numbered(count: int) -> tuple[str, ...]:
    """Labels of tokens of which nothing but their place is known."""
    return tuple(f"#{place}" for place in range(count))


def _apart(loaded: Loaded, tensors: dict[str, Any], past: int) -> tuple[dict[str, Any], GivenMask | None]:
    """The arguments without a mask of four axes, and that mask, which takes the place of the model's own; or None."""
    mask = tensors.get("attention_mask")
    if not isinstance(mask, torch.Tensor) or mask.ndim != 4 or loaded.card.encoder_decoder:
        return tensors, None
    rest = {name: value for name, value in tensors.items() if name != "attention_mask"}
    return rest, GivenMask(mask, meant_by(mask.cpu(), past))


def _rows(value: Any, batch: Batch) -> IntArray | None:
    """An argument of one number for each token, or None; positions may be given once for all rows."""
    if not isinstance(value, torch.Tensor) or value.ndim != 2 or value.shape[1] != batch.length:
        return None
    return _array(value.expand(batch.rows, -1)) if value.shape[0] in (1, batch.rows) else None


def _sized(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _array(tensor: torch.Tensor) -> IntArray:
    array: IntArray = tensor.detach().to("cpu", torch.int64).numpy()
    return array
